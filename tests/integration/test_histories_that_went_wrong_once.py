"""Histories that were once replayed wrongly, each with what must hold."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow
from perdure.errors import Drift


def test_a_failure_handled_in_async_code_is_history_when_a_sync_step_follows(machine: Machine) -> None:
    """The sync step runs in the same branch, so the workflow has moved past the failure."""
    dies = [True]

    @step(retry=None)
    async def fragile() -> str:
        machine.ran.append("fragile")
        if len(machine.ran) == 1:
            raise Trouble
        return "well"

    @step
    def after(value: str) -> None: ...

    @step
    def last() -> None:
        if dies[0]:
            raise Died

    @workflow
    async def wf() -> str:
        try:
            value = await fragile()
        except Trouble:
            value = "ill"
        after(value)
        last()
        return value

    with pytest.raises(Died):
        asyncio.run(wf())
    dies[0] = False
    machine.boot()
    assert asyncio.run(wf()) == "ill"
    assert machine.ran == ["fragile"]


@pytest.mark.parametrize("keyed", [False, True])
def test_a_handled_failure_of_a_raising_batch_is_replayed(machine: Machine, keyed: bool) -> None:
    """The item's error is raised again, from one record; its bytes are not a result."""
    dies = [True]

    @step(retry=None)
    def work(n: int) -> int:
        if n == 1:
            raise Trouble("poison")
        return n

    @step
    def after() -> None: ...

    @step
    def last() -> None:
        if dies[0]:
            raise Died

    @workflow
    def wf() -> Any:
        try:
            result: Any = list(work.map([1, 2], on_failure="raise", key=(lambda n: n) if keyed else None).results)
        except Trouble as error:
            result = str(error)
        after()
        last()
        return result

    with pytest.raises(Died):
        wf()
    dies[0] = False
    machine.boot()
    assert wf() == "poison"
    assert machine.steps().count(("work", "failed")) == 1


def test_a_handled_raising_batch_does_not_strand_later_calls_of_its_step(machine: Machine) -> None:
    """Items behind the one that failed claim their records on replay, too."""
    dies = [True]

    @step(retry=None)
    async def work(n: int) -> int:
        machine.ran.append(n)
        if n == 1:
            while machine.steps() != [("work", "done")] * 2:  # the others are saved before it fails
                await asyncio.sleep(0)
            raise Trouble
        if n == 7 and dies[0]:
            raise Died
        return n

    @workflow
    async def wf() -> int:
        with suppress(Trouble):
            await work.map([1, 2, 3], concurrency=3, key=lambda n: n, on_failure="raise")
        return await work(7)

    with pytest.raises(Died):
        asyncio.run(wf())
    dies[0] = False
    machine.boot()
    assert asyncio.run(wf()) == 7
    assert sorted(machine.ran) == [1, 2, 3, 7, 7]  # type: ignore[type-var]


def test_attempts_are_bounded_over_several_deaths(machine: Machine) -> None:
    """A failure that a death has met on its way up is tried in a new series; the next death does not begin a third."""
    dies, sleep = [True], machine.world.sleep

    @step(retry=Retry(attempts=3, jitter=0))
    def bad() -> None:
        machine.ran.append(1)
        raise Trouble

    @workflow
    def wf() -> None:
        try:
            bad()
        finally:
            if dies.pop():
                raise Died

    def die(seconds: float) -> None:
        raise Died

    with pytest.raises(Died):
        wf()
    dies[:] = [False] * 3
    machine.boot()
    machine.world.sleep = die  # type: ignore[method-assign]
    with pytest.raises(Died):
        wf()
    machine.world.sleep = sleep  # type: ignore[method-assign]
    assert len(machine.ran) == 4
    machine.boot()
    with pytest.raises(Trouble):
        wf()
    assert len(machine.ran) == 6, "two attempts of the second series were left"


def test_clean_up_after_the_failure_that_ended_a_run_is_no_drift_when_it_goes_well(machine: Machine) -> None:
    """What was called because a step failed is not called again when it succeeds; nobody changed the script."""
    broken = [True]

    @step(retry=None)
    def charge() -> None:
        if broken[0]:
            raise Trouble

    @step
    def notify(text: str) -> None:
        machine.ran.append(text)

    @workflow
    def wf() -> None:
        try:
            charge()
        except Trouble:
            notify("failed")
            raise
        notify("charged")

    with pytest.raises(Trouble):
        wf()
    broken[0] = False
    wf()
    assert machine.ran == ["failed", "charged"]


@pytest.mark.parametrize("order", [1, -1])
def test_drift_in_one_branch_stops_the_others_before_anything_is_executed(machine: Machine, order: int) -> None:
    """A branch whose call is merely new does not begin while another has drifted."""
    argument = [1]
    saved = asyncio.Event()

    @step
    async def a(n: int) -> None:
        machine.ran.append("a")

    @step(retry=None)
    async def z() -> None:
        machine.ran.append("z")
        await saved.wait()  # what is saved after the failure that ends a run is not held against the script
        raise Trouble

    async def branch() -> None:
        await a(argument[0])
        saved.set()

    @workflow
    async def wf() -> None:
        await asyncio.gather(*[branch(), z()][::order])

    with pytest.raises(Trouble):
        asyncio.run(wf())
    assert machine.steps() == [("a", "done")]
    machine.ran.clear()
    argument[0] = 2
    with pytest.raises(Drift):
        asyncio.run(wf())
    assert machine.ran == []


def test_drift_in_a_task_group_is_drift(machine: Machine) -> None:
    """The group's wrapping does not hide it."""
    argument = [1]

    @step
    async def work(n: int) -> None: ...

    @step(retry=None)
    async def end() -> None:
        raise Trouble

    @workflow
    async def wf() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work(argument[0]))
        await end()

    with pytest.raises(Trouble):
        asyncio.run(wf())
    argument[0] = 2
    with pytest.raises(Drift):
        asyncio.run(wf())


def test_branches_end_with_the_run(machine: Machine) -> None:
    """gather fails early and leaves a sibling at work: the next run in the same process does not meet it."""

    @step(retry=None)
    async def fails_once() -> None:
        machine.ran.append("fails once")
        if machine.ran.count("fails once") == 1:
            raise Trouble

    @step
    async def slow() -> None:
        machine.ran.append("begun")
        await go.wait()
        machine.ran.append("ended")

    @workflow
    async def wf() -> None:
        await asyncio.gather(slow(), fails_once())

    async def main() -> None:
        with suppress(Trouble):
            await wf()
        go.set()
        await wf()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    go = asyncio.Event()
    asyncio.run(main())
    assert machine.ran.count("ended") == 1
    assert machine.runs() == [("wf", "done")]
