"""A process that executes runs for ever, as a worker does, keeps nothing of those that have ended."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

import perdure
from conftest import Machine, Trouble
from perdure import step, workflow

RUNS = 5


@step
def double(n: int) -> int:
    return 2 * n


@step
async def adouble(n: int) -> int:
    return 2 * n


@step(retry=None)
def fail(n: int) -> int:
    raise Trouble(n)


@step(retry=None)
async def afail(n: int) -> int:
    raise Trouble(n)


@workflow
def done(n: int) -> int:
    return double(n)


@workflow
async def adone(n: int) -> int:
    return sum(await asyncio.gather(adouble(n), adouble(n + 1)))


@workflow
def loops(n: int) -> int:
    return asyncio.run(adouble(n))


@workflow
def failed(n: int) -> int:
    return fail(n)


@workflow
async def afailed(n: int) -> int:
    return sum(await asyncio.gather(adouble(n), afail(n)))


@workflow
def handled(n: int) -> int:
    with suppress(Trouble):
        fail(n)
    return double(n)


@workflow
def letters(n: int) -> int:
    return len(fail.map([n], on_failure="dead_letter").dead)


@workflow
def parent(n: int) -> int:
    return done(n)


@workflow
def asleep(n: int) -> int:
    perdure.sleep(1)
    return n


def objects() -> Counter[str]:
    """How many there are that runs may leave: ours, those of event loops, and what exceptions hold."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    of = ("perdure.", "asyncio.", "concurrent.")
    known = ("frame", "traceback", "generator", "coroutine", "Trouble")
    return Counter(kind.__qualname__ for kind in kinds if kind.__module__.startswith(of) or kind.__name__ in known)


def in_a_loop(ended: Callable[[int], object]) -> Callable[[int], object]:
    return lambda n: asyncio.run(ended(n))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ended",
    [done, in_a_loop(adone), loops, failed, in_a_loop(afailed), handled, letters, parent, asleep],
    ids=["done", "adone", "loops", "failed", "afailed", "handled", "letters", "parent", "asleep"],
)
def test_nothing_is_left_of_ended_runs(machine: Machine, ended: Callable[[int], object]) -> None:
    """Failed ones, too: their exceptions hold the frames of the run, and those what the run was made of."""

    def runs(first: int) -> Counter[str]:
        for n in range(RUNS):
            with suppress(Trouble):
                ended(first + n)
        return objects()

    before = runs(0)
    assert {kind: count for kind, count in (runs(100) - before).items() if count >= RUNS} == {}
