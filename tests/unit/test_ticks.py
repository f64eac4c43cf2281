"""When schedules are due, against an oracle that walks over UTC minute by minute, and a record of Debian's cron."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from perdure.core.cron import local_text, parse, spread_of
from perdure.errors import OptionError
from slow_cron import minutes, oracle, random_specs

DEBIAN = Path(__file__).with_name("debian_cron.json")
"""What cron 3.0pl1-162 did; the file says how it was made."""

APIA = 1_325_239_200
"""When 2011-12-31 began in Apia, right after 2011-12-29 had ended."""

CHANGES = {
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],
    "America/Sao_Paulo": ["2018-02-18", "2018-11-04"],
    "Asia/Beirut": ["2022-03-27", "2022-10-30", "2023-03-26", "2023-03-30"],
    "America/Santiago": ["2026-04-05", "2026-09-06"],
    "Pacific/Apia": ["2011-12-30", "2011-09-24"],
}
SPECS = [
    "* * * * *",
    "*/20 * * * *",
    "7 * * * *",
    "0 */2 * * *",
    "*/15 2 * * *",
    "30 2 * * *",
    "0,30 0-3 * * *",
    "0 0 * * *",
    "0 3 * * 0",
    "15 1 30 * 5",
    "59 23 * * *",
    "0 0 1,5,30 * *",
]


def ours(spec: str, zone: str, start: float, end: float) -> list[int]:
    return list(parse(spec).between(start, end, ZoneInfo(zone)))


@pytest.mark.parametrize("zone", CHANGES)
def test_ticks_are_those_of_an_oracle_around_every_change_of_the_clocks(zone: str) -> None:
    """T10: in gaps and folds of an hour, half an hour and a day, fixed times run once and `*` follows elapsed time."""
    for day in CHANGES[zone]:
        first, last = minutes(zone, day)[0][0], minutes(zone, day)[-1][0]
        for spec in SPECS:
            assert ours(spec, zone, first - 1, last) == oracle(spec, zone, day), (spec, day)


def test_ticks_of_random_schedules_increase_and_are_the_same_from_any_start() -> None:
    """T10: increasing, later than the start, those of the oracle, and the same from wherever one asks."""
    draw = random.Random(48)
    for spec in random_specs(48, 30):
        zone = draw.choice(list(CHANGES))
        day = draw.choice(CHANGES[zone])
        expected = oracle(spec, zone, day)
        start = minutes(zone, day)[0][0] - 1
        end = minutes(zone, day)[-1][0]
        found = ours(spec, zone, start, end)
        assert found == expected, (spec, zone, day)
        assert all(a < b for a, b in pairwise(found))
        for _ in range(3):
            later = draw.uniform(start, end)
            assert ours(spec, zone, later, end) == [each for each in found if each > later], (spec, zone, later)


def test_the_latest_ticks_are_the_end_of_all_of_them() -> None:
    """T9: catching up looks at the latest 1,000 ticks, however long nobody served, and misses none of those."""
    berlin = ZoneInfo("Europe/Berlin")
    until = 1_796_000_000
    for spec in ("*/9 * * * *", "30 2 * * *", "*/5 0-3 * 1,11 *", "every 15m", "30 0 * * * *", "0 0 29 2 *"):
        ticks, start = parse(spec), until - 8 * 86400 if spec != "0 0 29 2 *" else 0
        every = list(ticks.between(start, until, berlin))
        for most in (1, 7, 1000, len(every), len(every) + 1):
            found = ticks.latest(start, until, berlin, most)
            assert list(found.ticks) == every[-most:], (spec, most)
            assert found.before == (every[-most - 1] if len(every) > most else None), (spec, most)
    year = parse("* * * * * *").latest(until - 366 * 86400, until, berlin)
    assert (year.ticks[0], year.ticks[-1], year.before) == (until - 999, until, until - 1000)


def test_debian_cron_has_the_same_ticks() -> None:
    """T10: what Debian's cron did under faketime is what we do, but for a gap of a day, of which it drops the ticks."""
    record = json.loads(DEBIAN.read_text(encoding="utf-8"))
    compared = 0
    for each in record["observed"]:
        ticks = ours(each["spec"], each["zone"], each["from"] - 1, each["until"])
        expected = each["ticks"]
        if each["zone"] == "Pacific/Apia" and each["spec"] in record["dropped"]:
            expected = [APIA, *expected]
        assert ticks == expected, (each["spec"], each["zone"])
        compared += 1
    assert compared >= 50


def test_intervals_are_anchored_to_the_epoch() -> None:
    """C31: `every 15m` is due at the same moments whenever it was declared, or a worker started."""
    ticks = parse("Every  15m")
    assert ticks.spec == "every 15m"
    assert list(islice(ticks.after(1_000_000_001.5, UTC), 2)) == [1_000_000_800, 1_000_001_700]
    assert list(islice(ticks.after(1_000_000_800, UTC), 1)) == [1_000_001_700]


def test_ids_tell_two_ticks_of_one_local_time_apart() -> None:
    """T9: in the night in which the clocks go back, the two ticks of 02:30 have different texts."""
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 10, 25, tzinfo=berlin).timestamp()
    texts = [local_text(each, berlin) for each in islice(parse("30 */1 * * *").after(start, berlin), 4)]
    assert texts[1:] == ["2026-10-25T01:30+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]
    assert local_text(1_796_000_007, UTC).endswith(":27+00:00")


def test_days_are_or_and_a_reader_is_told() -> None:
    """C48: day of the month with weekday is "or", as in cron, which the schedule says; a `*` in either is "and"."""
    assert "or the weekday" in parse("0 0 1 * MON").note
    assert not parse("0 0 */2 * MON").note
    assert not parse("0 0 1 * *").note


def test_a_spread_is_fixed_by_the_name() -> None:
    """C47: schedules of one time begin apart, each always at the same distance, less than the spread."""
    offsets = {spread_of(f"job-{each}", 600) for each in range(100)}
    assert len(offsets) > 80
    assert all(0 <= each < 600 for each in offsets)
    assert spread_of("nightly", 600) == spread_of("nightly", 600)
    assert spread_of("nightly", 0.5) == 0


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("0 3 * *", "has 4 fields"),
        ("0 0 3 * * * *", "has 7 fields"),
        ("61 * * * *", "'61' is no minute"),
        ("* * * * * 8", "'8' is no weekday"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 0 0 * *", "'0' is no day of the month"),
        ("0 0 * 13 *", "'13' is no month"),
        ("0 0 * * MON#2/3", "is no weekday"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("0 0 30 2 *", "never due"),
        ("0 0 31 4,6,9,11 *", "never due"),
        ("@daily", "short form"),
        ("every 0s", "whole number of seconds"),
        ("every 1.5s", "whole number of seconds"),
        ("every 15 minutes", "not a duration"),
        ("every", "not a duration"),
        ("", "is ''"),
        ("0 3 * * *\0", "cannot be printed"),
        ("1," * 400 + "1 * * * *", "longer than"),
        (15, "is 15"),
        (None, "is None"),
    ],
)
def test_what_is_no_schedule_is_refused_by_name(spec: object, says: str) -> None:
    """Section 5: before anything is written, with the field at fault and what to write instead."""
    with pytest.raises(OptionError, match=None) as raised:
        parse(spec)
    assert says in raised.value.what
    assert raised.value.hint
