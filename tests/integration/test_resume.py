"""A run that stopped goes on where it stopped, with the results it had."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from three_steps import three_steps

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow


@pytest.mark.parametrize("trouble", [Trouble("no route"), Died(), KeyboardInterrupt()])
def test_goes_on_at_the_step_that_stopped_it(machine: Machine, trouble: BaseException) -> None:
    """After a failure, a death or Ctrl-C, what was done is not done again, in this process or the next."""
    troubles = [trouble]
    nightly = three_steps(machine, troubles)
    for _ in range(2):
        with pytest.raises(type(trouble)):
            nightly("monday")
        machine.boot()
    troubles.clear()
    assert nightly("monday") == "third after second after first of monday"
    assert machine.ran == ["first", "second", "second", "second", "third"]
    assert machine.runs() == [("nightly", "done")]


def children(machine: Machine, trouble: list[BaseException]) -> Any:
    @step
    def leaf(place: str) -> str:
        machine.ran.append(place)
        return place

    @step(retry=None)
    async def aleaf(place: str) -> str:
        machine.ran.append(place)
        if place == "async in async" and trouble:
            raise trouble[0]
        return place

    @workflow
    def inner(place: str) -> str:
        return leaf(place)

    @workflow
    async def ainner(place: str) -> str:
        return await aleaf(place)

    @workflow
    async def outer() -> list[str]:
        return [inner("sync in async"), leaf("here"), *await asyncio.gather(ainner("async in async"), ainner("side"))]

    return outer


@pytest.mark.parametrize("trouble", [Trouble(), Died()])
def test_children_are_resumed_with_their_parent(machine: Machine, trouble: BaseException) -> None:
    """A child that has ended is not entered again; one that has not goes on; none runs twice."""
    troubles = [trouble]
    outer = children(machine, troubles)
    with pytest.raises(type(trouble)):
        asyncio.run(outer())
    troubles.clear()
    machine.boot()
    assert asyncio.run(outer()) == ["sync in async", "here", "async in async", "side"]
    assert sorted(machine.ran)[:2] == ["async in async", "async in async"]
    assert machine.ran.count("sync in async") == machine.ran.count("here") == 1
    assert {status for _, status in machine.runs()} == {"done"}
    assert len(machine.runs()) == 4


def test_gather_in_any_order(machine: Machine) -> None:
    """Branches that finish in another order on resume get their own results all the same."""
    alive = [False]

    @step(retry=None)
    async def work(n: int) -> int:
        machine.ran.append(n)
        for _ in range(0 if alive[0] else 10 - n):
            await asyncio.sleep(0)
        if n == 3 and not alive[0]:
            raise Died
        return n * n

    @step
    async def more(n: int) -> int:
        return n + 1

    async def branch(n: int) -> int:
        return await more(await work(n))

    @workflow
    async def side_by_side() -> dict[int, int]:
        numbers = [0, 9, 3, 7, 5, 1, 2, 8, 6, 4] if alive[0] else range(10)
        return dict(zip(numbers, await asyncio.gather(*map(branch, numbers)), strict=True))

    with pytest.raises(Died):
        asyncio.run(side_by_side())
    done = [name for name, _ in machine.steps()].count("work")
    assert 0 < done < 10
    alive[0] = True
    machine.ran.clear()
    machine.boot()
    assert asyncio.run(side_by_side()) == {n: n * n + 1 for n in range(10)}
    assert len(machine.ran) == 10 - done


def test_the_same_call_again_is_another_call(machine: Machine) -> None:
    """A loop that makes the same call gets a result of its own each time, and the same ones on resume."""
    trouble = [True]

    @step
    def draw() -> int:
        machine.ran.append("draw")
        return len(machine.ran)

    @step(retry=None)
    def end() -> None:
        if trouble[0]:
            raise Trouble

    @workflow
    def lottery() -> list[int]:
        drawn = [draw() for _ in range(3)]
        end()
        return drawn

    with pytest.raises(Trouble):
        lottery()
    trouble.clear()
    trouble.append(False)
    assert lottery() == [1, 2, 3]
    assert len(machine.ran) == 3


def test_chance_and_time_are_remembered(machine: Machine) -> None:
    """now(), uuid() and random() are the same on resume, and differ from call to call."""
    trouble = [Trouble()]
    seen: list[object] = []

    @step(retry=None)
    def end() -> None:
        if trouble:
            raise trouble.pop()

    @workflow
    def wf() -> None:
        seen.append([perdure.now(), perdure.uuid(), perdure.uuid(), perdure.random()])
        end()

    with pytest.raises(Trouble):
        wf()
    machine.boot()
    wf()
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[0][2]  # type: ignore[index]
