"""Deadlines through full records, and children that end by their parent's deadline or with their branch."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.ending_steps import DEADLINES, close, listed, make

from perdure import defer, step, workflow
from perdure.errors import DeadlineExceeded


def test_a_child_whose_branch_is_cancelled(bench: Bench, entered: threading.Semaphore) -> None:
    """Its parent fails; it is over before that is, cleaned up, and goes on when the parent is resumed."""
    broken = threading.Event()
    broken.set()

    @step(retry=None, timeout="60s")
    async def hang() -> None:
        note("hang")
        entered.release()
        if broken.is_set():
            await asyncio.sleep(3600)

    @step(retry=None, timeout="60s")
    async def afragile() -> None:
        if broken.is_set():
            assert await asyncio.to_thread(entered.acquire, timeout=60)
            raise ConnectionError("down")

    @step(retry=None)
    async def done() -> None:
        note("done")

    @workflow
    async def inner() -> str:
        defer(close, "inner")
        make("child")
        await done()
        await hang()
        return "inner"

    @workflow
    async def outer() -> list[Any]:
        return list(await asyncio.gather(inner(), afragile()))

    assert isinstance(bench.run(outer), ConnectionError)
    assert steps() == [("make", "child"), "done", "hang", ("close", "child"), ("close", "inner")]
    broken.clear()
    ledger.clear()
    assert bench.run(outer) == ["inner", None]
    # What a child has deferred is called when it fails, here on a cluster, and once.
    assert steps() == [("make", "child"), "hang"]


def test_a_deadline_holds_through_new_records(bench: Bench) -> None:
    """A run has its time once, however many records it takes."""
    for timeout in DEADLINES:

        @workflow(timeout=timeout)
        def endless(timeout: str) -> None:
            defer(close, "a")
            n = 0
            while True:
                n += 1
                make(f"{n}")

        ledger.clear()
        assert isinstance(bench.run(endless, timeout), DeadlineExceeded)
        made = [each for each in steps() if each[0] == "make"]
        if len(made) > 20:  # more than one record
            break
    assert len(made) > 20
    away = [("close", what) for _, what in made]
    # The deadline may break off the last one after it was noted: then it has not completed, and is not undone.
    # The run can be resumed, so what it has deferred waits for its final end.
    assert sorted(steps()[len(made) :]) in (sorted(away), sorted(away[:-1]))


def test_children_end_by_themselves_when_time_is_over(bench: Bench) -> None:
    """Their time is over as well: they have failed, and are not cancelled."""

    @step(retry=None, timeout="1h")
    async def hang() -> None:
        note("hang")
        await asyncio.sleep(3600)

    @workflow
    async def inner(timeout: str) -> None:
        await hang()

    for timeout in DEADLINES:

        @workflow(timeout=timeout)
        async def outer(timeout: str) -> None:
            await inner(timeout)

        handle = outer.start(timeout)
        with pytest.raises(DeadlineExceeded, match="workflow 'outer'"):
            handle.result(180)
        if steps():  # the child was there by then
            break
    assert [run.status for run in listed(bench, handle)] == ["failed", "failed"]
