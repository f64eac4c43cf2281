"""A death before or during clean-ups neither loses nor repeats any of them."""

from __future__ import annotations

import pytest
from clean_up_steps import steps

from conftest import Died, Machine, Trouble
from perdure import defer, step, workflow


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


def test_a_crash_in_the_middle_of_undoing_neither_loses_nor_repeats(machine: Machine) -> None:
    """After the death the run goes on: what was undone is done anew, what was not stays done."""
    dies = [True]
    fails = [True]

    @step(name="refund")
    def refund(receipt: str) -> None:
        if receipt == "a" and dies:
            dies.clear()
            raise Died
        machine.ran.append(f"refund {receipt}")

    @step(name="charge", undo=refund)
    def charge(what: str) -> str:
        machine.ran.append(f"charge {what}")
        return what

    @step(name="ship", retry=None)
    def ship() -> None:
        if fails:
            raise Trouble("no truck")

    @workflow
    def flow() -> None:
        charge("a")
        charge("b")
        ship()

    with pytest.raises(Died):
        flow()
    assert machine.ran == ["charge a", "charge b", "refund b"]
    fails.clear()
    machine.boot()
    flow()
    assert machine.ran == ["charge a", "charge b", "refund b", "charge b"]
