"""A death before or during clean-ups neither loses nor repeats any of them."""

from __future__ import annotations

import asyncio

import pytest
from clean_up_steps import steps

from conftest import Died, Machine, Trouble
from perdure import defer, step, workflow
from perdure.errors import Cancelled


def test_deferred_calls_run_after_a_crash(machine: Machine) -> None:
    """A crash is no end: nothing is put away until the run goes on and ends."""
    make, close, work = steps(machine)
    ends = ["die", "well"]

    @step(name="attempt", retry=None)
    def attempt() -> None:
        work._spec.fn(ends.pop(0))

    @workflow
    def flow() -> None:
        defer(close, make("a"))
        attempt()

    with pytest.raises(Died):
        flow()
    assert machine.ran == ["make a", "work die"]
    machine.boot()
    flow()
    assert machine.ran == ["make a", "work die", "work well", "close a"]


def test_a_crash_while_cleaning_up_does_not_clean_twice(machine: Machine) -> None:
    """What was put away before the death is not put away again at the same end."""
    dies = [True]

    @step(name="close")
    def close(what: str) -> None:
        machine.ran.append(f"close {what}")
        if what == "a" and dies:
            dies.clear()
            raise Died

    @workflow
    def flow() -> str:
        defer(close, "a")
        defer(close, "b")
        return "done"

    with pytest.raises(Died):
        flow()
    assert machine.ran == ["close b", "close a"]
    machine.boot()
    assert flow() == "done"
    assert machine.ran == ["close b", "close a", "close a"]


class Trip:
    """Two steps that are undone, of which the first leaves the process in the middle of its undoing; then one fails."""

    def __init__(self, machine: Machine, leaves: type[BaseException]) -> None:
        self.leaves = [leaves]
        self.called = 0
        self.fails: list[BaseException] = [Trouble("no truck")]

        @step(name="refund")
        def refund(receipt: str) -> None:
            machine.ran.append(f"refund {receipt}")
            if receipt == "a" and self.leaves:
                raise self.leaves.pop()

        @step(name="charge", undo=refund)
        def charge(what: str) -> str:
            machine.ran.append(f"charge {what}")
            return what

        @step(name="ship", retry=None)
        def ship() -> None:
            machine.ran.append("ship")
            if self.fails:
                raise self.fails[0]

        @workflow(name="trip")
        def flow() -> str:
            self.called += 1
            charge("a")
            charge("b")
            ship()
            return "shipped"

        @workflow(name="trip")
        async def aflow() -> str:
            charge("a")
            charge("b")
            ship()
            return "shipped"

        self.flow, self.aflow = flow, aflow


@pytest.mark.parametrize("way", ["sync", "async", "started"])
@pytest.mark.parametrize("leaves", [Died, KeyboardInterrupt])
def test_undoing_that_is_broken_off_is_ended_before_the_run_goes_on(
    machine: Machine, leaves: type[BaseException], way: str
) -> None:
    """What may be undone in part is not used: all of it is undone and made anew, as if nobody had left the process."""
    trip = Trip(machine, leaves)

    def go(way: str) -> str:
        if way == "started":
            return trip.flow.start().result()
        return asyncio.run(trip.aflow()) if way == "async" else trip.flow()

    with pytest.raises(leaves):
        go("sync" if way == "started" else way)
    first = ["charge a", "charge b", "ship", "refund b", "refund a"]
    assert machine.ran == first
    trip.fails.clear()
    machine.boot()
    assert go(way) == "shipped"
    assert machine.ran == [*first, "refund a", "charge a", "charge b", "ship"]
    (run,) = machine.engine.store.runs()
    assert (run.status, run.epoch) == ("done", 1)


def test_undoing_that_dies_again_and_again_is_ended_once(machine: Machine) -> None:
    """The note of it stays until the end is written."""
    trip = Trip(machine, Died)
    trip.leaves *= 3
    for _ in range(3):
        with pytest.raises(Died):
            trip.flow()
        machine.boot()
    trip.fails.clear()
    assert trip.flow() == "shipped"
    assert machine.ran.count("refund b") == 1
    assert machine.ran.count("charge b") == 2


def test_a_cancel_that_dies_in_its_clean_ups_is_kept(machine: Machine) -> None:
    """Whoever goes on with the run ends it: nothing is executed, and nothing that was undone in part is used."""
    trip = Trip(machine, Died)
    trip.fails[:] = [Died()]
    with pytest.raises(Died):
        trip.flow()
    machine.boot()
    (run,) = machine.engine.store.runs()
    with pytest.raises(Died):
        machine.engine.cancel(run.id, lambda record: None)
    assert machine.ran == ["charge a", "charge b", "ship", "refund b", "refund a"]
    trip.fails.clear()
    machine.boot()
    assert trip.flow() == "shipped"  # by a run of its own: the inputs of one that was cancelled begin anew
    assert machine.ran[5:] == ["refund a", "charge a", "charge b", "ship"]
    assert machine.engine.store.run(run.id).status == "cancelled"
    assert len(list(machine.engine.store.runs())) == 2


def test_a_cancel_that_dies_before_its_clean_ups_is_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is in the file: whoever takes the run ends it, and executes nothing of it."""
    trip = Trip(machine, Died)
    trip.leaves.clear()
    trip.fails[:] = [Died()]
    with pytest.raises(Died):
        trip.flow()
    machine.boot()
    (run,) = machine.engine.store.runs()

    def dies(record: object) -> None:
        raise Died

    with pytest.raises(Died):
        machine.engine.cancel(run.id, dies)
    machine.boot()
    with pytest.raises(Cancelled):
        trip.flow()
    assert trip.called == 1
    assert machine.ran == ["charge a", "charge b", "ship", "refund b", "refund a"]
    assert machine.engine.store.run(run.id).status == "cancelled"
