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
