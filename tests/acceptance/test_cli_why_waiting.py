"""`perdure why` says what a run that goes on is in, or waits for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from why_shop import Shop, opened

from conftest import Scripts


@pytest.fixture
def shop(scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with opened(scripts, capsys, monkeypatch) as shop:
        yield shop


def test_a_step_in_flight(shop: Shop) -> None:
    """Who executes the run, which step is in flight with which inputs, at which attempt, and for how long."""
    process = shop.begin("stuck", "stuck")
    said = shop.why()
    assert "is running" in said
    assert f"pid {process.pid} on " in said
    assert "in flight: stuck('a'), attempt 2, for " in said
    assert "perdure show flow-" in said
    assert "perdure cancel flow-" in said
    assert "in flight stuck('a'), attempt 2, for " in shop.printed("show", "last")
    (one,) = shop.json("show", "last")["process"]["in_flight"]
    assert (one["step"], one["attempt"], one["inputs"]) == ("stuck", 2, "('a')")
    assert shop.json("show", "last")["process"]["alive"] is True


def test_the_wait_for_the_next_attempt(shop: Shop) -> None:
    """Which call failed at which attempt, how long ago, with the first line of its error."""
    shop.begin("shaky", "tries")
    said = shop.until(lambda said: "failed at attempt" in said)
    assert "shaky('a') failed at attempt 1, " in said
    assert "ago: ConnectionError: refused; it waits for its next attempt" in said
    assert "printer" not in said


def test_the_wait_for_a_breaker(shop: Shop) -> None:
    """The breaker that is open, until when, after which error, and how to close it."""
    shop.begin("guarded", "asks")
    said = shop.until(lambda said: "breaker 'printer'" in said)
    assert "breaker 'printer' is open until " in said
    assert "opened by ConnectionError: the printer is off" in said
    assert "perdure breaker reset printer" in said


def test_the_wait_for_a_lock(shop: Shop) -> None:
    """Who holds it, and that what needs it waits."""
    holder = shop.begin("hold", "held")
    shop.begin("locked")
    said = shop.until(lambda said: "in flight: locked" in said)
    assert f"lock 'press' is held by pid {holder.pid} on " in said


def test_code_between_steps(shop: Shop) -> None:
    """Nothing is in flight: it says so, and when the last step ended."""
    shop.begin("own", "own")
    assert "no step of it is in flight or has failed (the last one, first, ended " in shop.why()


def test_a_run_that_is_to_end(shop: Shop) -> None:
    """It is about to, at its next safe point; until then the step in flight is named."""
    shop.begin("stuck", "stuck")
    shop.cancel()
    said = shop.why()
    assert "is about to end" in said
    assert "it was asked to end " in said
    assert "in flight: stuck('a')" in said
    assert "perdure cancel" not in said
