"""Exceptions that are falsy, equal to everything or without a hash are failures like others."""

from __future__ import annotations

import asyncio

import pytest

from conftest import Machine
from perdure import Retry, step, workflow

ONCE = Retry(attempts=1)
TWICE = Retry(attempts=2, delay=0.001, jitter=0)


class Falsy(Exception):
    """As a library's may be that says whether it matters."""

    def __bool__(self) -> bool:
        return False


class Problems(Exception):
    """A collection of problems, in which there is none."""

    def __len__(self) -> int:
        return 0


class Equal(Exception):
    """Equal to everything, and without a hash, as that has no `__hash__`."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class FalsyExit(BaseException):
    """None that a program handles."""

    def __bool__(self) -> bool:
        return False


KINDS = {kind.__name__: kind for kind in (Falsy, Problems, Equal)}


class Death(BaseException):
    """The end of the process, simulated."""


@step(retry=TWICE)
def fails(kind: str) -> int:
    calls.append(kind)
    raise KINDS[kind]("no")


@step(retry=TWICE)
async def afails(kind: str) -> int:
    calls.append(kind)
    raise KINDS[kind]("no")


@step(retry=ONCE)
def saved(n: int) -> int:
    return n


calls: list[str] = []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_handled_failure_is_recorded_and_comes_back(kind: str, is_async: bool, machine: Machine) -> None:
    """Each attempt is made, the workflow's handler sees the class itself, and a second life sees it without a call."""
    dies = True
    calls.clear()

    def end() -> list[str]:
        nonlocal dies
        if dies:
            dies = False
            raise Death
        return seen

    @workflow
    def wf() -> list[str]:
        seen.clear()
        try:
            fails(kind)
        except Exception as error:
            seen.append(type(error).__name__)
        saved(1)
        return end()

    @workflow
    async def awf() -> list[str]:
        seen.clear()
        try:
            await afails(kind)
        except Exception as error:
            seen.append(type(error).__name__)
        saved(1)
        return end()

    seen: list[str] = []
    for _ in range(2):
        try:
            assert (asyncio.run(awf.with_options(id="one")()) if is_async else wf.with_options(id="one")()) == [kind]
        except Death:
            machine.boot()
    assert calls == [kind, kind]
    assert seen == [kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_async", [False, True])
def test_items_of_a_map_that_fail_so_are_dead_letters(kind: str, is_async: bool, machine: Machine) -> None:
    """Each after its attempts; the others have their results."""
    calls.clear()

    @step(retry=TWICE)
    def item(n: int) -> int:
        if n == 1:
            calls.append(kind)
            raise KINDS[kind]("no")
        return n

    @step(retry=TWICE)
    async def aitem(n: int) -> int:
        if n == 1:
            calls.append(kind)
            raise KINDS[kind]("no")
        return n

    @workflow
    def wf() -> tuple[list[int], int]:
        batch = item.map(range(3))
        return list(batch.results), len(batch.dead)

    @workflow
    async def awf() -> tuple[list[int], int]:
        batch = await aitem.map(range(3))
        return list(batch.results), len(batch.dead)

    assert (asyncio.run(awf()) if is_async else wf()) == ([0, 2], 1)
    assert calls == [kind, kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_fails_so_is_failed_undone_and_can_go_on(kind: str, machine: Machine) -> None:
    """The exception itself leaves the workflow; what was done is undone, and the next run of it makes the call."""
    calls.clear()
    undone: list[int] = []

    @step
    def revert(n: int) -> None:
        undone.append(n)

    @step(undo=revert)
    def done(n: int) -> int:
        return n

    @workflow
    def wf() -> int:
        done(7)
        return fails(kind)

    wf_two = wf.with_options(id="two")
    with pytest.raises(KINDS[kind]):
        wf_two()
    assert machine.runs() == [("wf", "failed")]
    assert undone == [7]
    with pytest.raises(KINDS[kind]):
        wf_two()
    assert calls == [kind] * 4


@pytest.mark.parametrize("is_async", [False, True])
def test_a_map_that_is_left_so_ends(is_async: bool, machine: Machine) -> None:
    """By what no program handles: it comes out as it is, once nothing is under way."""

    @step(retry=ONCE)
    def item(n: int) -> int:
        if n == 1:
            raise FalsyExit
        return n

    @step(retry=ONCE)
    async def aitem(n: int) -> int:
        if n == 1:
            raise FalsyExit
        return n

    @workflow
    def wf() -> None:
        item.map(range(3), concurrency=2)

    @workflow
    async def awf() -> None:
        await aitem.map(range(3), concurrency=2)

    with pytest.raises(FalsyExit):
        asyncio.run(awf()) if is_async else wf()
