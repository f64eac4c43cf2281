"""A call that waits is seen while it does: by what, since when and until when; and never as one that a death cut."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import perdure
from conftest import FakeWorld, Machine, Trouble, replace
from perdure import Retry, step, workflow
from perdure.api.breaker import Breaker
from perdure.operations.location import Location
from perdure.operations.processes import ProcessView, process_of
from perdure.operations.why import explain
from perdure.store import flight_record


class Watched(FakeWorld):
    """Looks each time that somebody sleeps."""

    def __init__(self, look: Callable[[], Any]) -> None:
        super().__init__()
        self.look = look

    def sleep(self, seconds: float) -> None:
        self.look()
        super().sleep(seconds)


class Looks:
    """What `show` and `why` said at each of the waits."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.processes: list[ProcessView] = []
        self.said: list[str] = []
        machine.world = Watched(self)
        machine.boot()

    def __call__(self) -> None:
        store = self.machine.engine.store
        run = store.runs()[0]
        seen = process_of(store, run)
        assert seen is not None
        self.processes.append(seen)
        self.said.append(" / ".join(explain(store, run, Location(self.machine.state, "a test")).reasons))

    @property
    def waits(self) -> list[list[tuple[str, str, int, str]]]:
        return [[(one.step, one.label, one.attempt, one.reason) for one in seen.waiting] for seen in self.processes]

    def left(self) -> tuple[int, int]:
        recorder = self.machine.engine.resources.monitor.recorder
        assert recorder is not None
        found = flight_record.read(recorder.path)
        assert found is not None
        return len(found.calls), len(found.waiting)


def test_the_pause_between_attempts_and_an_open_breaker(machine: Machine) -> None:
    """Both are seen with the attempt that comes next and until when; the run has nothing in flight then, and `why` says
    what it waits for instead of guessing. Afterwards nothing is left in the record."""
    looks = Looks(machine)

    @step(breaker=Breaker("wcs-svc", failures=1, cooldown="30s"), retry=Retry(attempts=2, delay=5, jitter=0))
    def wcs_call(n: int) -> str:
        machine.ran.append(n)
        if len(machine.ran) == 1:
            raise Trouble("it is down")
        return "well"

    @workflow
    def wcs_main() -> str:
        return wcs_call(1)

    assert wcs_main() == "well"
    assert [each[0] for each in looks.waits] == [
        ("wcs_call", "", 2, "its next attempt"),
        ("wcs_call", "", 2, "breaker 'wcs-svc', which is open"),
    ]
    first, second = (seen.waiting[0] for seen in looks.processes)
    assert first.since is not None
    assert first.until is not None
    assert (first.until - first.since).total_seconds() == 5
    assert second.inputs == "(1)"
    assert [len(seen.in_flight) for seen in looks.processes] == [0, 0]
    assert "failed at attempt 1" in looks.said[0]
    assert "it waits for its next attempt, for " in looks.said[0]
    assert "wcs_call(1) waits for breaker 'wcs-svc', which is open, for " in looks.said[1]
    assert looks.left() == (0, 0)


def test_items_of_maps_that_are_set_aside_and_those_that_wait_for_their_turn(machine: Machine) -> None:
    """A map sets an item aside until its next attempt, and goes on with others: it waits all the same, under its key.
    So do async items that are held by a rate; those that have not begun are counted."""
    looks = Looks(machine)

    @step(key=lambda n: f"item-{n}", retry=Retry(attempts=2, delay=5, jitter=0))
    def wcs_item(n: int) -> int:
        machine.ran.append(n)
        looks()
        if machine.ran.count(n) == 1 and n < 2:
            raise Trouble
        return n

    @step(rate="1/s")
    async def wcs_turn(n: int) -> int:
        return n

    @workflow
    def wcs_map() -> list[int | None]:
        return wcs_item.map(range(3), concurrency=1).results

    @workflow
    async def wcs_turns() -> list[int | None]:
        return (await wcs_turn.map(range(3), concurrency=3)).results

    assert wcs_map() == [0, 1, 2]
    aside = [("wcs_item", f"item-{n}", 2, "its next attempt") for n in range(2)]
    assert looks.waits[:4] == [[], aside[:1], aside, aside]
    assert [one.label for one in looks.processes[0].in_flight] == ["item-0"]
    assert "in flight: wcs_item(item-1)" in looks.said[1]
    assert "1 of 3 items of the map over wcs_item have not begun: 1 at a time" in looks.said[1]
    assert looks.left() == (0, 0)

    looks.processes.clear()
    assert asyncio.run(wcs_turns()) == [0, 1, 2]
    assert {one[3] for each in looks.waits for one in each} == {"its turn at 1/s"}
    assert looks.left() == (0, 0)


def test_the_lock_that_a_run_waits_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that waits for a lock in its function says so, and no longer when it has it."""
    looks = Looks(machine)
    taken, seen = threading.Event(), threading.Event()

    def hold() -> None:
        with perdure.lock("wcs-lock"):
            taken.set()
            seen.wait(60)

    def sleep(seconds: float) -> None:
        looks()
        seen.set()
        holder.join()

    @workflow
    def wcs_locked() -> None:
        with perdure.lock("wcs-lock", if_locked="wait"):
            machine.ran.append(looks.left())

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(60)
    replace(monkeypatch, time, "sleep", sleep)
    try:
        wcs_locked()
    finally:
        seen.set()
        holder.join()
    assert looks.waits == [[("", "", 0, "lock 'wcs-lock'")]]
    assert "the run itself waits for lock 'wcs-lock'" in looks.said[0]
    assert machine.ran == [(0, 0)]


def test_how_far_an_attempt_is(machine: Machine) -> None:
    """What a step reports of its progress is seen with it, without credentials."""
    looks = Looks(machine)

    @step
    def wcs_far() -> None:
        perdure.progress(3, 10, "password=hunter2hunter2")
        looks()

    @workflow
    def wcs_progress() -> None:
        wcs_far()

    wcs_progress()
    one = looks.processes[0].in_flight[0]
    assert (one.done, one.total) == (3, 10)
    assert one.note
    assert "hunter2hunter2" not in one.note
