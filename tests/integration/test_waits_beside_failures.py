"""A wait beside a failure: the run fails, and the next life goes on with the wait from its beginning."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from letterbox import open_waits

import perdure
from conftest import START, Machine
from perdure import aio, step, workflow
from perdure.errors import DeadlineExceeded

BROKEN = [True]


@step(name="beside.breaks", retry=None)
async def breaks() -> str:
    if BROKEN[0]:
        raise PermissionError("no")
    return "ok"


@workflow(name="beside.child")
async def rests_in_a_child() -> str:
    await aio.sleep("50s")
    return "rested"


async def later(machine: Machine) -> str:
    """The step, when the wait beside it has gone on for 5 s."""
    while machine.world.time < START + 5:
        await asyncio.sleep(0)
    return await breaks()


async def gathered(machine: Machine) -> list[Any]:
    return await asyncio.gather(aio.sleep("50s"), later(machine))


async def grouped(machine: Machine) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        group.create_task(aio.sleep("50s"))
        group.create_task(later(machine))
    return [None, "ok"]


async def with_a_child(machine: Machine) -> list[Any]:
    return await asyncio.gather(rests_in_a_child(), later(machine))


@pytest.mark.parametrize("shape", [gathered, grouped, with_a_child])
def test_a_sleep_goes_on_when_a_step_beside_it_has_failed(machine: Machine, shape: Any) -> None:
    """It is over when it would have been over without the failure, and nothing is left open at the end."""

    @workflow(name=f"beside.{shape.__name__}")
    async def flow() -> list[Any]:
        return await shape(machine)

    BROKEN[0], machine.world.slice = True, 1.0
    with pytest.raises((PermissionError, ExceptionGroup)):
        asyncio.run(flow())
    assert machine.world.time < START + 50
    assert open_waits(machine.state) == [("perdure.sleep", None)]
    machine.boot()
    machine.world.time = START + 20
    BROKEN[0] = False
    asyncio.run(flow())
    assert machine.world.time == START + 50
    assert open_waits(machine.state) == []


def test_a_sleep_goes_on_after_a_deadline(machine: Machine) -> None:
    """Each life has its time anew; the sleep has one beginning, so that it is over at last."""

    @workflow(name="beside.deadline", timeout="30s")
    def slow() -> str:
        perdure.sleep("50s")
        return "done"

    with pytest.raises(DeadlineExceeded):
        slow()
    machine.boot()
    assert slow() == "done"
    assert machine.world.time == START + 50


def test_a_wait_that_was_given_up_and_handled_is_not_open(machine: Machine) -> None:
    """A failure later on does not bring it back."""

    @workflow(name="beside.handled")
    async def flow() -> str:
        with suppress(ExceptionGroup):
            await grouped(machine)
        return await breaks()

    BROKEN[0], machine.world.slice = True, 1.0
    with pytest.raises(PermissionError):
        asyncio.run(flow())
    assert open_waits(machine.state) == []
