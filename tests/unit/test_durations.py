"""Durations and rates: what people write is understood exactly or refused with the way to write it."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.durations import rate, roughly, seconds, show
from perdure.errors import OptionError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("3d", 259_200),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("1d2h3m4s5ms", 93_784.005),
        (0, 0),
        (2.5, 2.5),
        (timedelta(minutes=1, milliseconds=5), 60.005),
    ],
)
def test_durations_are_seconds(written, meant):
    """Every documented way to write a duration gives its seconds, as a float."""
    length = seconds(written, option="timeout")
    assert length == pytest.approx(meant, abs=1e-9)
    assert type(length) is float


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "x", "30", "5y", "-5s", "1h1h", "30m1h", "1 h", "s", "1.s", ".5s", "1e3s", "٣s", "5s\n", "1,5s",
        -1, -0.001, True, False, None, [], b"5s", float("nan"), float("inf"), "9" * 400 + "s",
        pytest.param(10**5000, id="huge"), timedelta(seconds=-1), timedelta.max,
    ],
)  # fmt: skip
def test_what_is_not_a_duration_is_refused(written):
    """What is no duration is an OptionError that names the option and the valid forms, never another exception."""
    with pytest.raises(OptionError) as refused:
        seconds(written, option="timeout")
    assert "timeout=" in str(refused.value)
    assert '"30s"' in refused.value.hint


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5 minutes", "5m"),
        ("5min", "5m"),
        ("30", "30s"),
        ("1h 30min", "1h30m"),
        ("2 hours and 5 minutes", "2h5m"),
        ("30m1h", "1h30m"),
        ("10 SEC", "10s"),
        ("1,5 s", "1.5s"),
        ("100 msecs", "100ms"),
    ],
)
def test_near_misses_are_suggested(written, meant):
    """Who writes a duration in a common other way is told the way that works."""
    with pytest.raises(OptionError) as refused:
        seconds(written, option="timeout")
    assert f'did you mean "{meant}"?' in refused.value.hint
    seconds(meant, option="timeout")


def test_negative_durations_are_not_suggested_a_positive_one():
    """The sign is the mistake: nothing is guessed."""
    with pytest.raises(OptionError, match="is negative") as refused:
        seconds("-5s", option="delay")
    assert "did you mean" not in refused.value.hint


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10/s", (10, 1.0)),
        ("100/min", (100, 60.0)),
        ("5/2s", (5, 2.0)),
        ("7/h", (7, 3600.0)),
        ("1/d", (1, 86400.0)),
    ],
)
def test_rates(written, meant):
    """A rate is a count and the seconds it is for."""
    assert rate(written, option="rate") == meant


@pytest.mark.parametrize(
    "written",
    ["", "10", "10/", "/s", "0/s", "-1/s", "1.5/s", "10/y", "5/0s", "1/999999999d", "9" * 30 + "/s", 10, None, True],
)
def test_what_is_not_a_rate_is_refused(written):
    """What is no rate is an OptionError that names the option and the valid forms."""
    with pytest.raises(OptionError) as refused:
        rate(written, option="rate")
    assert "rate=" in str(refused.value)
    assert '"100/min"' in refused.value.hint


@pytest.mark.parametrize(
    ("written", "meant"), [("10 per second", "10/s"), ("10/minute", "10/min"), ("5 / hour", "5/h"), ("3 a day", "3/d")]
)
def test_near_misses_of_rates_are_suggested(written, meant):
    """Who writes a rate in words is told the way that works."""
    with pytest.raises(OptionError) as refused:
        rate(written, option="rate")
    assert f'did you mean "{meant}"?' in refused.value.hint
    rate(meant, option="rate")


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0 s"),
        (0.25, "250 ms"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min"),
        (61, "1 min 1 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86399, "1 d"),
        (270_000, "3 d 3 h"),
        (-2, "-2 s"),
        (float("inf"), "inf s"),
    ],
)
def test_show(length, text):
    """Seconds are shown in at most two units, and never as 60 of a smaller one."""
    assert show(length) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_show_never_shows_sixty_of_a_unit(length):
    """Rounding carries over into the next unit."""
    words = show(length).split()
    shown = set(zip(words[::2], words[1::2], strict=True))
    assert not shown & {("1000", "ms"), ("60", "s"), ("60", "min"), ("24", "h")}


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text):
    """No text makes the parser raise anything but OptionError."""
    with contextlib.suppress(OptionError):
        assert seconds(text, option="timeout") >= 0


def test_what_is_shorter_than_a_tenth_of_a_second_is_not_0_s() -> None:
    """It is shown in milliseconds."""
    assert [roughly(0.04), roughly(0.96), roughly(12.34), roughly(0.0)] == ["40 ms", "1 s", "12.3 s", "0 s"]
