"""The time of a run counts over the deaths of its processes, and anew only after it has failed."""

from __future__ import annotations

import asyncio

import pytest

from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.errors import DeadlineExceeded


@pytest.mark.parametrize("asynchronous", [False, True])
def test_deaths_do_not_stop_the_time(machine: Machine, asynchronous: bool) -> None:
    """Over two deaths and the hours between, the time counts from the start; after it nothing is executed."""
    made: list[int] = []

    def work(n: int) -> int:
        made.append(n)
        machine.world.time += 20
        if made.count(n) == 1 and n in (1, 2):
            raise Died
        return n

    if asynchronous:

        @step(name="work_over_deaths")
        async def a_step(n: int) -> int:
            return work(n)

        @workflow(name="over_deaths", timeout="100s")
        async def a_flow() -> int:
            return sum([await a_step(n) for n in range(4)])

        def run() -> int:
            return asyncio.run(a_flow())  # type: ignore[arg-type]

    else:

        @step(name="work_over_deaths")
        def step_of_it(n: int) -> int:
            return work(n)

        @workflow(name="over_deaths", timeout="100s")
        def run() -> int:
            return sum(step_of_it(n) for n in range(4))

    for gone in (10, 20):
        with pytest.raises(Died):
            run()
        machine.boot()
        machine.world.time += gone
    assert made == [0, 1, 1, 2]
    with pytest.raises(DeadlineExceeded, match="within 1 min 40 s"):
        run()
    assert made == [0, 1, 1, 2], "80 s in steps and 30 s between them"
    machine.boot()
    assert run() == 6
    assert made == [0, 1, 1, 2, 2, 3], "it had failed, so it has 100 s once more"


def test_a_death_after_a_failure_does_not_give_the_time_anew(machine: Machine) -> None:
    """It counts from when the run was gone on with, over the deaths after that; a clock set back gives no more."""
    made: list[int] = []
    ends: list[type[BaseException]] = [Trouble, Died]

    @step(name="work_after_failure", retry=None)
    def work() -> None:
        made.append(1)
        machine.world.time += 60
        if ends:
            raise ends.pop(0)

    @workflow(name="after_failure", timeout="100s")
    def flow() -> None:
        work()
        work()

    for error in (Trouble, Died):
        with pytest.raises(error):
            flow()
        machine.boot()
    with pytest.raises(DeadlineExceeded):
        flow()
    assert len(made) == 3
    machine.boot()
    (run,) = machine.engine.store.runs()
    machine.world.time = run.created - 1e6
    flow()
    assert len(made) == 4


def test_children_of_a_run_that_failed_have_their_time_anew_too(machine: Machine) -> None:
    """A child that was left in the middle is not out of time the moment that its parent is gone on with."""
    ends: list[type[BaseException]] = [Died, Trouble]

    @step(name="work_of_child")
    def work() -> None:
        if ends:
            raise ends.pop(0)

    @workflow(name="child_in_time", timeout="10s")
    def inner() -> str:
        work()
        return "done"

    @workflow(name="parent_in_time")
    def outer() -> str:
        if ends == [Trouble]:
            raise ends.pop(0)
        return inner()

    for error in (Died, Trouble):
        with pytest.raises(error):
            outer()
        machine.boot()
        machine.world.time += 1000
    assert machine.runs() == [("parent_in_time", "failed"), ("child_in_time", "running")]
    assert outer() == "done"
