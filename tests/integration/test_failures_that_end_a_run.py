"""The failure that ended a run is not history: the next run executes its step again."""

from __future__ import annotations

import asyncio

import pytest
from fragile_steps import dying, failing

from conftest import Died, Machine, Trouble
from perdure import step, workflow


def test_a_failure_that_ends_the_run_is_not_history(machine: Machine) -> None:
    """The step that failed the run is executed again by the next one."""
    fragile = failing(machine)

    @workflow
    def wf() -> str:
        return fragile()

    with pytest.raises(Trouble):
        wf()
    assert machine.steps() == []
    machine.boot()
    assert wf() == "well"


@pytest.mark.parametrize("how", ["raise from", "while handling", "after further steps", "in a group"])
def test_a_failure_that_ends_the_run_wrapped_or_raised_again(machine: Machine, how: str) -> None:
    """Raised from, raised while handling, raised again after clean-up, in an exception group: it is tried again."""
    fragile = failing(machine)

    @step
    def clean_up() -> None:
        machine.ran.append("clean up")

    @workflow
    def wf() -> str:
        try:
            return fragile()
        except Trouble as error:
            clean_up()
            if how == "raise from":
                raise RuntimeError("wrapped") from error
            if how == "while handling":
                raise RuntimeError("wrapped")  # noqa: B904
            if how == "in a group":
                raise ExceptionGroup("several", [error]) from None
            raise

    with pytest.raises(Exception):  # noqa: B017, PT011
        wf()
    machine.boot()
    assert wf() == "well"
    assert machine.ran == ["fragile 0", "clean up", "fragile 0"]


def test_a_failure_taken_for_handled_is_tried_again_in_the_same_process(machine: Machine) -> None:
    """Clean-up after a failure makes it history; a death before the failure ends the run must not make it final."""
    fragile, death = failing(machine), dying(machine)

    @workflow
    def wf() -> str:
        try:
            return fragile()
        except Trouble:
            death()
            raise

    with pytest.raises(Died):
        wf()
    assert machine.steps() == [("fragile", "failed")]
    machine.boot()
    assert wf() == "well"
    assert machine.steps() == [("death", "done"), ("fragile", "done")]


def test_a_failure_in_a_branch_whose_sibling_goes_on(machine: Machine) -> None:
    """One branch of a gather fails the run, the other makes further calls: only the failure is tried again."""

    @step(retry=None)
    async def fragile() -> str:
        machine.ran.append("fragile")
        if machine.ran.count("fragile") == 1:
            raise Trouble
        return "well"

    @step
    async def one(n: int) -> int:
        machine.ran.append(n)
        return n

    async def sibling() -> None:
        for n in range(5):
            await one(n)

    @workflow
    async def wf() -> str:
        result, _ = await asyncio.gather(fragile(), sibling())
        return result

    with pytest.raises(Trouble):
        asyncio.run(wf())
    machine.boot()
    assert asyncio.run(wf()) == "well"
    assert sorted(map(str, machine.ran)) == ["0", "1", "2", "3", "4", "fragile", "fragile"]
