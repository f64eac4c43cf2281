"""While an item of a map waits for its next attempt, others run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.errors import Cancelled

KINDS = ["one by one", "threads", "tasks"]
IN_ORDER = ["one by one", "tasks"]
"""With threads, the clock of the test may jump while another thread is about to begin an item."""
LONG = Retry(attempts=2, delay=60, cap=60, jitter=0)


def run(machine: Machine, kind: str, items: list[int], fails: dict[int, int], retry: Retry = LONG) -> list[int]:
    """Map a step over items; `fails` says how often each of them fails first. Returns the results."""
    left = dict(fails)

    def work(i: int) -> int:
        machine.ran.append((i, machine.world.time))
        if left.get(i, 0):
            left[i] -= 1
            raise Trouble(f"trouble at {i}")
        return i

    if kind == "tasks":

        async def awork(i: int) -> int:
            return work(i)

        amapped = step(awork, name="work", retry=retry)

        @workflow(name="wf")
        async def awf() -> list[int]:
            return list((await amapped.map(items, concurrency=1)).results)

        return asyncio.run(awf())
    mapped = step(work, retry=retry)

    @workflow
    def wf() -> list[int]:
        return list(mapped.map(items, concurrency=1 if kind == "one by one" else 2).results)

    return wf()


@pytest.mark.parametrize("kind", IN_ORDER)
def test_the_others_do_not_wait_with_it(machine: Machine, kind: str) -> None:
    """All others run before the first is tried again, and it is tried again as soon as its wait is over."""
    began = machine.world.time
    items = list(range(12))
    assert run(machine, kind, items, {0: 1}) == items
    moments: dict[Any, list[float]] = {}
    for item, moment in machine.ran:  # type: ignore[misc]
        moments.setdefault(item, []).append(moment - began)
    assert moments.pop(0)[1] >= 60
    assert all(moment < 60 for [moment] in moments.values())


@pytest.mark.parametrize("kind", KINDS)
def test_their_waits_pass_at_the_same_time(machine: Machine, kind: str) -> None:
    """Ten items that wait a minute each are done after one minute, not after ten."""
    began = machine.world.time
    items = list(range(10))
    assert run(machine, kind, items, dict.fromkeys(items, 1)) == items
    assert machine.world.time - began < 5 * 60  # with threads, the clock may jump between an attempt and its wait


@pytest.mark.parametrize("kind", KINDS)
def test_more_wait_than_are_kept(machine: Machine, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are kept waiting; the map is complete and in order all the same."""
    monkeypatch.setattr("perdure.engines.runtime.paused_items.MOST", 3)
    items = list(range(20))
    assert run(machine, kind, items, dict.fromkeys(items, 1)) == items
    assert machine.steps().count(("work", "done")) == len(items)


def test_an_end_of_the_map_does_not_wait(machine: Machine) -> None:
    """When another item ends the map, what waits is not tried again in this run, and is gone on with in the next."""
    stop = [True]

    def work(i: int) -> int:
        machine.ran.append(i)
        if i == 0 and stop[0]:
            raise Trouble
        if i == 5 and stop[0]:
            raise KeyError("permanent")
        return i

    mapped = step(work, retry=LONG)

    @workflow
    def wf() -> list[int]:
        return list(mapped.map(range(8), on_failure="raise").results)

    began = machine.world.time
    with pytest.raises(KeyError):
        wf()
    assert machine.world.time - began < 60
    assert machine.ran.count(0) == 1
    stop.clear()
    stop.append(False)
    assert wf() == list(range(8))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_run_does_not_wait(machine: Machine, kind: str) -> None:
    """Nothing is left but an item that waits: the run is ended all the same."""
    machine.world.slice = 1.0
    slept = machine.world.sleep

    def sleep(seconds: float) -> None:
        slept(seconds)
        store = machine.engine.store
        store.ask_to_stop(store.runs()[0].id, machine.world.now())

    machine.world.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        run(machine, kind, [0, 1], {0: 1})
    assert machine.runs() == [("wf", "cancelled")]
