"""Branches of async workflows, which come in another order on resume, wait for things of their own, and start tasks."""

from __future__ import annotations

import asyncio

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow


async def turns(count: int) -> None:
    """Let the loop go round so many times: the others come first."""
    for _ in range(count):
        await asyncio.sleep(0)


class Turn:
    """Which of two branches comes first; the other one comes when that has gone on and rests again."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._gone = asyncio.Event()

    async def of(self, name: str) -> None:
        """Wait for the branch's turn."""
        if name == self._first:
            self._gone.set()
        else:
            await self._gone.wait()
            await turns(10)


def test_identical_calls_of_branches_that_interleave_otherwise_are_no_drift(machine: Machine) -> None:
    """Identical calls of two branches are interchangeable: whichever comes first, none is left over to be drift."""
    dies, first = [True], "q"

    @step(retry=None)
    async def draw() -> int:
        machine.ran.append("draw")
        if dies[0] and len(machine.ran) == 1:
            await asyncio.Event().wait()
        return len(machine.ran)

    @step
    async def last() -> None:
        if dies[0]:
            raise Died

    async def p(turn: Turn) -> None:
        await turn.of("p")  # a request that is no step
        await draw()
        await draw()
        await last()

    async def q(turn: Turn) -> None:
        await turn.of("q")
        await draw()

    @workflow
    async def wf() -> None:
        turn = Turn(first)
        await asyncio.gather(p(turn), q(turn))

    with pytest.raises(Died):
        asyncio.run(wf())
    assert machine.steps() == [("draw", "done")] * 2
    dies[0], first = False, "p"
    machine.boot()
    asyncio.run(wf())
    assert machine.ran == ["draw"] * 4


def test_chance_in_branches_is_remembered_in_any_order(machine: Machine) -> None:
    """A value drawn by chance stays with the branch that drew it, whichever branch comes first on resume."""
    dies, first = [True], "q"

    @step
    async def use_p(key: str) -> None:
        machine.ran.append("p")

    @step
    async def use_q(key: str) -> None:
        machine.ran.append("q")

    @step
    async def last() -> None:
        if dies[0]:
            raise Died

    async def branch(name: str, turn: Turn) -> None:
        await turn.of(name)
        key = str(perdure.uuid())
        await (use_p if name == "p" else use_q)(key)

    @workflow
    async def wf() -> None:
        turn = Turn(first)
        await asyncio.gather(branch("p", turn), branch("q", turn))
        await last()

    with pytest.raises(Died):
        asyncio.run(wf())
    dies[0], first = False, "p"
    machine.boot()
    asyncio.run(wf())
    assert sorted(machine.ran) == ["p", "q"]


def test_a_branch_that_waits_for_something_else_is_waited_for(machine: Machine) -> None:
    """A branch that awaits something of its own between its steps is waited for before another one is judged."""
    broken = [True]

    @step(retry=None)
    async def work(n: int) -> int:
        machine.ran.append(n)
        if n == 2 and broken[0]:
            raise Trouble
        return n

    async def a(done: asyncio.Event) -> None:
        await turns(100)
        await work(1)
        done.set()

    async def b(done: asyncio.Event) -> None:
        if broken[0]:
            await done.wait()
        await work(2)

    @workflow
    async def wf() -> None:
        done = asyncio.Event()
        await asyncio.gather(a(done), b(done))

    with pytest.raises(Trouble):
        asyncio.run(wf())
    broken[0] = False
    asyncio.run(wf())
    assert machine.ran == [1, 2, 2]


@pytest.mark.parametrize("how", ["gather", "map", "wait_for"])
def test_a_handled_failure_is_history_when_the_fallback_runs_in_tasks(machine: Machine, how: str) -> None:
    """A failure is moved past by calls that run in tasks started since, so it is replayed and not executed again."""
    dies = [True]

    @step(retry=None)
    async def fragile() -> str:
        machine.ran.append("fragile")
        if machine.ran.count("fragile") == 1:
            raise Trouble
        return "well"

    @step
    async def fallback(n: int) -> int:
        machine.ran.append(n)
        return n

    @step
    async def last(n: int) -> None:
        if dies[0]:
            raise Died

    async def in_tasks(work: object) -> None:
        if how == "gather":
            await asyncio.gather(work(1), work(2))  # type: ignore[operator]
        elif how == "map":
            await work.map([1, 2], concurrency=2)  # type: ignore[attr-defined]
        else:
            await asyncio.wait_for(work(1), 600)  # type: ignore[operator]

    @workflow
    async def wf() -> str:
        try:
            return await fragile()
        except Trouble:
            await in_tasks(fallback)
            await in_tasks(last)
            return "instead"

    with pytest.raises(Died):
        asyncio.run(wf())
    dies[0] = False
    machine.boot()
    assert asyncio.run(wf()) == "instead"
    assert machine.ran.count("fragile") == 1


def test_a_map_that_the_workflow_leaves_running_is_over_before_its_end(machine: Machine) -> None:
    """Its items are cancelled, and none begins afterwards: a run that has ended is not written to."""
    entered = asyncio.Event()

    @step(retry=None)
    async def work(n: int) -> int:
        machine.ran.append(n)
        entered.set()
        if n > 1:
            await asyncio.Event().wait()
        return n

    @workflow
    async def wf() -> str:
        left.append(asyncio.create_task(work.map([1, 2, 3, 4], concurrency=1)))
        await entered.wait()
        return "done"

    async def main() -> str:
        result = await wf()
        assert left[0].cancelled()
        return result

    left: list[asyncio.Task[object]] = []
    assert asyncio.run(main()) == "done"
    assert machine.ran in ([1], [1, 2])
