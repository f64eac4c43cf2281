"""Tests of scripts move the clock: what sleeps for days is gone on with when it is due, and no real time passes."""

from __future__ import annotations

import pytest

import perdure
from conftest import Machine
from perdure import aio, step, workflow
from perdure.errors import Suspended
from perdure.testing import time_travel

SAID: list[str] = []


@step(name="travels.say")
def say(word: str) -> None:
    SAID.append(word)


@workflow(name="travels.remind")
def remind(name: str, pause: str) -> None:
    perdure.sleep("30s")
    say(f"{name} one")
    perdure.sleep(pause)
    say(f"{name} two")
    perdure.sleep("2d")
    say(f"{name} three")


@workflow(name="travels.aremind")
async def aremind() -> None:
    await aio.sleep("1d")
    say("async")


def test_moving_the_clock_wakes_what_is_due(machine: Machine) -> None:
    """In the order in which it is due, as often as it is; short waits jump; the clock is where it was moved to."""
    SAID.clear()
    with time_travel(1_800_000_000.0) as clock:
        for name, pause in (("a", "5d"), ("b", "1d")):
            with pytest.raises(Suspended):
                remind(name, pause)
        with pytest.raises(Suspended):
            __import__("asyncio").run(aremind())
        assert clock.move("1h") == []
        woken = clock.move("4d")
        assert [run.rpartition("-")[0] for run in woken] == ["travels.remind", "travels.aremind", "travels.remind"]
        assert SAID == ["a one", "b one", "b two", "async", "b three"]
        assert len(clock.move("4d")) == 2
        assert SAID[5:] == ["a two", "a three"]
        assert clock.now() == 1_800_000_000.0 + 60 + 3600 + 8 * 86_400


@workflow(name="travels.fail")
def fail(word: str) -> None:
    perdure.sleep("1d")
    say(word)
    if word != "well":
        raise ValueError(word)


def test_a_run_that_fails_keeps_no_other_from_its_turn(machine: Machine) -> None:
    """The first failure is raised when all have had theirs, and tells of the others."""
    SAID.clear()
    with time_travel() as clock:
        before = clock.now()
        for word in ("first", "second", "well"):
            with pytest.raises(Suspended):
                fail(word)
        with pytest.raises(ValueError, match="first") as raised:
            clock.move("3d")
        assert SAID == ["first", "second", "well"]
        assert any("ValueError('second')" in note for note in raised.value.__notes__)
        assert clock.now() == before + 3 * 86_400
        assert clock.move("1d") == []
