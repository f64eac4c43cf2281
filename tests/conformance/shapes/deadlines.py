"""Runs whose time is over: in steps, waits, items and children."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import QUICK, ado, close, do, shape

from perdure import Retry, defer_every_end, step, workflow
from perdure.core.durations import seconds
from perdure.errors import DeadlineExceeded


def late(error: Any, timeout: str) -> bool:
    """Did the run end for that reason? What its message says beside that is another on each engine: the id."""
    return isinstance(error, DeadlineExceeded) and f"did not finish within {timeout}, the timeout of" in error.what


DEADLINES = {"600ms": "600 ms", "3s": "3 s", "15s": "15 s", "60s": "1 min"}
"""Ever longer ones, and how they are shown. Where a run is when its time is over depends on the machine: the next one
is tried until it is where it is meant to be."""


def at_the_deadline(bench: Bench, make: Callable[[str], Any], *expected: Any) -> Any:
    """Run what `make` defines with a deadline that is long enough for the steps to be as expected; its error.

    The deadline is the workflow's only argument, too, so that each is a run of its own.
    """
    before = len(ledger)
    for timeout, shown in DEADLINES.items():
        del ledger[before:]
        error = bench.run(make(timeout), timeout)
        assert late(error, shown)
        if steps()[before:] == list(expected):
            break
    assert steps()[before:] == list(expected)
    return error


@shape
def a_step_that_outlasts_the_run(bench: Bench) -> None:
    @step(retry=Retry(attempts=3, delay="10ms"), timeout="60s")
    async def ahang() -> None:
        note("ahang")
        await asyncio.sleep(3600)

    @step(retry=QUICK, timeout="1h")
    def hang(day: str) -> None:
        note("hang")
        threading.Event().wait(3 * seconds(day, option="timeout"))

    def short(timeout: str) -> Any:
        @workflow(timeout=timeout)
        def short(day: str) -> str:
            defer_every_end(close, "a")
            try:
                hang(day)
            except Exception:
                do("not reached")
            return do("not reached")

        return short

    def ashort(timeout: str) -> Any:
        @workflow(timeout=timeout)
        async def ashort(day: str) -> None:
            await ado("before")
            await asyncio.gather(ahang(), asyncio.sleep(3600))

        return ashort

    at_the_deadline(bench, short, "hang", ("close", "a"))
    at_the_deadline(bench, ashort, "before", "ahang")
    bench.outcomes.clear()


@shape
def waits_end_with_the_run(bench: Bench) -> None:
    @step(retry=Retry(attempts=5, delay="10m", cap="10m", jitter=0, total="9h"))
    def flaky() -> None:
        note("flaky")
        raise ConnectionError("again")

    def waiting(timeout: str) -> Any:
        @workflow(timeout=timeout)
        def waiting(day: str) -> None:
            defer_every_end(close, "a")
            flaky()

        return waiting

    def own_waits(timeout: str) -> Any:
        @workflow(timeout=timeout)
        async def own_waits(day: str) -> None:
            defer_every_end(close, "b")
            try:
                await asyncio.sleep(3600)
            except Exception:
                do("not reached")

        return own_waits

    at_the_deadline(bench, waiting, "flaky", ("close", "a"))
    at_the_deadline(bench, own_waits, ("close", "b"))
    bench.outcomes.clear()


@shape
def items_are_no_dead_letters_because_of_a_deadline(bench: Bench) -> None:
    slow: list[float] = []

    @step(retry=None, timeout="1h")
    def item(n: int) -> int:
        note("item", n)
        if n > 1 and slow:
            threading.Event().wait(slow[0])
        return n

    def many(timeout: str) -> Any:
        @workflow(timeout=timeout)
        def many(day: str) -> list[Any]:
            batch = item.map(range(4), concurrency=4)
            return [list(batch.results), batch.ok]

        return many

    for timeout, shown in DEADLINES.items():
        ledger.clear()
        slow[:] = [3 * seconds(timeout, option="timeout")]
        assert late(bench.run(many(timeout), timeout), shown)
        slow.clear()
        assert bench.run(many(timeout), timeout) == [[0, 1, 2, 3], True], "and the resumed run has its time anew"
        if sorted(steps()) == sorted([("item", n) for n in (0, 1, 2, 3, 2, 3)]):
            break
    assert sorted(steps()) == sorted([("item", n) for n in (0, 1, 2, 3, 2, 3)])
    bench.outcomes.clear()
    ledger.sort()


@shape
def children_are_bound_by_their_parents(bench: Bench) -> None:
    @step(retry=None, timeout="1h")
    async def ahang() -> None:
        note("ahang")
        await asyncio.sleep(3600)

    @workflow(timeout="1h")
    async def inside(day: str) -> None:
        defer_every_end(close, "inside")
        await ahang()

    def outside(timeout: str) -> Any:
        @workflow(timeout=timeout)
        async def outside(day: str) -> None:
            defer_every_end(close, "outside")
            await inside(day)

        return outside

    error = at_the_deadline(bench, outside, "ahang", ("close", "inside"), ("close", "outside"))
    assert "workflow 'outside'" in error.what
    bench.outcomes.clear()


@shape
def time_enough(bench: Bench) -> None:
    @workflow(timeout="1h")
    async def ample() -> str:
        await asyncio.sleep(0.01)
        return await ado("done")

    assert bench.run(ample) == "done"
