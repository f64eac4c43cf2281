"""Async workflows, and workflows in workflows."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import add, ado, do, fail, shape

import perdure
from perdure import step, workflow


@shape
def steps_side_by_side(bench: Bench) -> None:
    @workflow
    async def gathered() -> list[str]:
        return [*(await asyncio.gather(*(ado(name) for name in "abc"))), await ado("d")]

    assert bench.run(gathered) == ["a", "b", "c", "d"]
    assert sorted(steps()) == ["a", "b", "c", "d"]
    ledger.sort()


@shape
def one_of_several_fails(bench: Bench) -> None:
    @step(retry=None)
    async def afail() -> None:
        note("afail")
        raise ValueError("afail")

    @workflow
    async def collected() -> list[str]:
        ended = await asyncio.gather(ado("a"), afail(), return_exceptions=True)
        return [str(each) for each in ended] + [await ado("b")]

    assert bench.run(collected) == ["a", "afail", "b"]
    ledger.sort()


@shape
def sync_steps_of_an_async_workflow(bench: Bench) -> None:
    @workflow
    async def both() -> list[Any]:
        first = perdure.uuid()
        return [do("sync"), await ado("async"), add(1), first.version]

    assert bench.run(both) == ["sync", "async", 2, 4]


@shape
def timers_of_an_async_workflow(bench: Bench) -> None:
    @workflow
    async def timed() -> list[str]:
        async def later() -> str:
            await asyncio.sleep(0.02)
            return await ado("later")

        task = asyncio.create_task(later())
        first = await ado("first")
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            await ado("timeout")
        return [first, await task]

    assert bench.run(timed) == ["first", "later"]
    assert sorted(steps()) == ["first", "later", "timeout"]
    ledger.sort()


@shape
def an_async_failure_and_resume(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    async def afragile() -> str:
        note("afragile")
        if broken[0]:
            raise ConnectionError("down")
        return "up"

    @workflow
    async def aresumed() -> list[str]:
        names = await asyncio.gather(ado("a"), ado("b"))
        return [*names, await afragile()]

    assert isinstance(bench.run(aresumed), ConnectionError)
    broken[0] = False
    assert bench.run(aresumed) == ["a", "b", "up"]
    assert sorted(steps()) == ["a", "afragile", "afragile", "b"]
    ledger.sort()


@shape
def branches_are_resumed_each_in_its_place(bench: Bench) -> None:
    broken = [True]
    clocks: list[Any] = []

    @step(retry=None)
    async def part(branch: int, n: int) -> int:
        note("part", branch, n)
        if broken[0] and (branch, n) == (1, 2):
            raise ConnectionError("part")
        return branch * 10 + n

    @workflow
    async def resumed_branches() -> list[int]:
        async def branch(number: int) -> int:
            started = perdure.random()
            clocks.append((number, started))
            return sum([await part(number, n) for n in range(4)])

        return list(await asyncio.gather(*(branch(number) for number in range(3)), return_exceptions=not broken[0]))

    assert isinstance(bench.run(resumed_branches), ConnectionError)
    first = dict(clocks)
    clocks.clear()
    broken[0] = False
    assert bench.run(resumed_branches) == [6, 46, 86]
    assert dict(clocks) == first, "each branch has its own numbers again"
    executed = [entry[:-1] for entry in ledger]
    assert len(set(executed)) == 12
    ledger.clear()  # how far the others had come when one failed is a matter of speed


@shape
def an_async_workflow_is_edited(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    async def end() -> str:
        note("end")
        if broken[0]:
            raise ConnectionError("end")
        return "end"

    @workflow(name="aedited")
    async def first_edition() -> list[str]:
        return [*(await asyncio.gather(ado("a"), ado("b"))), await end()]

    assert isinstance(bench.run(first_edition), ConnectionError)
    broken[0] = False

    @workflow(name="aedited")
    async def second_edition() -> list[Any]:
        return [add(5), *(await asyncio.gather(ado("b"), ado("a"))), await end()]

    assert bench.run(second_edition) == [6, "b", "a", "end"]
    assert sorted(map(str, steps())) == ["('add', 5, 1)", "a", "b", "end", "end"]
    ledger.sort(key=str)


@shape
def task_groups(bench: Bench) -> None:
    @step(retry=None)
    async def failing() -> None:
        note("failing")
        raise ValueError("failing")

    @workflow
    async def grouped() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing())
        except* ValueError as errors:
            told = str(errors.exceptions[0])
        return await ado(told)

    assert bench.run(grouped) == "failing"
    assert steps() == ["failing", "failing"]


@workflow
def small(n: int) -> int:
    return add(n, 10)


@workflow
async def asmall(name: str) -> str:
    return await ado(f"small {name}")


@shape
def child_workflows(bench: Bench) -> None:
    @workflow
    def family() -> list[int]:
        return [small(1), small(2), add(3)]

    assert bench.run(family) == [11, 12, 4]


@shape
def async_child_workflows(bench: Bench) -> None:
    @workflow
    async def afamily() -> list[str]:
        return list(await asyncio.gather(asmall("a"), asmall("b")))

    assert bench.run(afamily) == ["small a", "small b"]
    ledger.sort()


@shape
def a_child_that_fails_and_is_handled(bench: Bench) -> None:
    @workflow
    def naughty() -> None:
        do("naughty")
        fail("child")

    @workflow
    def patient() -> str:
        try:
            naughty()
        except KeyError as error:
            return do(f"caught {error.args[0]}")
        return "no"

    assert bench.run(patient) == "caught child"


@shape
def a_child_goes_on_where_it_stopped(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def inner() -> str:
        note("inner")
        if broken[0]:
            raise ConnectionError("inner")
        return "inner"

    @workflow
    def daughter() -> list[str]:
        return [do("daughter"), inner()]

    @workflow
    def mother() -> list[str]:
        return [do("mother"), *daughter(), do("end")]

    assert isinstance(bench.run(mother), ConnectionError)
    broken[0] = False
    assert bench.run(mother) == ["mother", "daughter", "inner", "end"]
    assert steps() == ["mother", "daughter", "inner", "inner", "end"]
