"""A run on a cluster is cancelled while it is in a step, a map, a wait, a child, or in its clean-ups."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.bench import Bench, note, steps
from tests.conformance.conftest import Server
from tests.conformance.ending_steps import LONG, cancel, close, is_cancelled, listed, make

from perdure import defer, step, workflow
from perdure.engines.selection import cluster_at
from perdure.errors import Cancelled, UsageError


@pytest.fixture
def calm(server: Server, tmp_path: Path) -> Iterator[Bench]:
    """A cluster on which no worker is taken for dead that a busy machine keeps from its processor for seconds."""
    with Bench(server.url(events=60, dead_after="20s"), tmp_path).in_force() as bench:
        yield bench


def test_a_sync_step_ends_before_its_run_is_cancelled(calm: Bench, entered: threading.Semaphore) -> None:
    """A thread cannot be interrupted: what the step did counts, and is undone; nothing is used while it is put away."""
    go = threading.Event()

    @step(retry=None, undo=close)
    def slow(what: str) -> str:
        note("slow", what)
        entered.release()
        assert go.wait(60)
        note("slow ends", what)
        return what

    @workflow
    def between() -> None:
        defer(close, "a")
        make("b")
        slow("c")
        make("not reached")

    handle = between.start()
    cancel(calm, handle, entered)
    threading.Timer(1.0, go.set).start()
    assert is_cancelled(calm, handle)
    done = [("make", "b"), ("slow", "c"), ("slow ends", "c")]
    assert steps() == [*done, ("close", "c"), ("close", "b"), ("close", "a")]
    assert cluster_at(calm.engine).cancel(handle.id).was == "cancelled", "it is over"
    go.clear()
    again = between.start()
    assert again.id != handle.id, "a call with the same inputs starts a new run"
    cancel(calm, again, entered)
    go.set()
    assert is_cancelled(calm, again)


def test_items_under_way_end_before_their_run_is_cancelled(calm: Bench, entered: threading.Semaphore) -> None:
    """The same for a map: what its items have done is undone, and no further one begins."""
    go = {what: threading.Event() for what in "abc"}

    @step(retry=None, undo=close)
    def item(what: str) -> str:
        entered.release()
        assert go[what].wait(60)
        return what

    @workflow
    def mapped() -> None:
        item.map("abcdef", concurrency=3)

    handle = mapped.start()
    cancel(calm, handle, entered, 3)
    for number, event in enumerate(go.values(), start=1):
        threading.Timer(0.7 * number, event.set).start()
    assert is_cancelled(calm, handle)
    assert sorted(steps()) == [("close", "a"), ("close", "b"), ("close", "c")]


@pytest.mark.parametrize("where", ["wait", "step", "own", "child", "branches"])
def test_waits_and_awaits_are_left_at_once(bench: Bench, entered: threading.Semaphore, where: str) -> None:
    """A wait between attempts, an async step, an await of the workflow's own, a child; each cleans up."""

    @step(retry=LONG)
    def flaky() -> None:
        entered.release()
        raise ConnectionError("later")

    @step(retry=None, timeout="60s")
    async def hang() -> None:
        entered.release()
        await asyncio.sleep(60)

    @step(retry=None)
    async def quick() -> None:
        entered.release()

    @workflow(name=f"sync_{where}")
    def waiting() -> None:
        defer(close, "inner")
        try:
            flaky()
        except Exception:
            make("not reached")

    @workflow(name=f"async_{where}")
    async def awaiting() -> None:
        defer(close, "inner")
        if where == "step":
            await hang()
        elif where == "own":
            await quick()
            await asyncio.sleep(60)
        else:
            await asyncio.gather(hang(), hang(), asyncio.sleep(60))

    @workflow
    def parent() -> None:
        defer(close, "outer")
        waiting()

    handle = {"wait": waiting, "child": parent}.get(where, awaiting).start()
    cancel(bench, handle, entered, 2 if where == "branches" else 1)
    assert is_cancelled(bench, handle)
    assert steps() == [("close", "inner"), *([("close", "outer")] if where == "child" else [])]
    if where == "child":
        family = listed(bench, handle)
        assert {run.status for run in family} == {"cancelled"}
        child = next(run for run in family if run.parent)
        with pytest.raises(UsageError, match="child run"):
            cluster_at(bench.engine).cancel(child.id)


def test_a_workflow_that_will_not_leave(bench: Bench, entered: threading.Semaphore) -> None:
    """It swallows its cancellation and waits on: it is left all the same."""

    @step(retry=None)
    async def quick() -> None:
        entered.release()

    @workflow
    async def clinging() -> str:
        defer(close, "a")
        await quick()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(1000)
        return "not reached"

    handle = clinging.start()
    cancel(bench, handle, entered)
    assert is_cancelled(bench, handle)
    assert steps() == [("close", "a")]


def test_what_a_cancelled_run_could_not_put_away(bench: Bench, entered: threading.Semaphore) -> None:
    """The error says so to its caller; it is a dead letter."""

    @step(retry=None)
    def stubborn() -> None:
        raise ValueError("cannot")

    @step(retry=LONG)
    def flaky() -> None:
        entered.release()
        raise ConnectionError("later")

    @workflow
    def messy() -> None:
        defer(stubborn)
        flaky()

    handle = messy.start()
    cancel(bench, handle, entered)
    with pytest.raises(Cancelled) as caught:
        handle.result(60)
    assert caught.value.__notes__[0] == "perdure: clean-up defer:stubborn has failed, and is a dead letter"
    (run,) = listed(bench, handle)
    assert [(each.name, each.status) for each in run.steps][-1] == ("defer:stubborn", "dead")


def test_a_run_that_is_cleaning_up_is_not_cancelled(bench: Bench, entered: threading.Semaphore) -> None:
    """It has ended already, and its clean-ups are made to the last."""
    go = threading.Event()

    @step(retry=None)
    def slow(what: str) -> None:
        entered.release()
        assert go.wait(60)
        note("slow", what)

    @workflow
    def finishing() -> str:
        defer(close, "a")
        defer(slow, "b")
        return "done"

    handle = finishing.start()
    cancel(bench, handle, entered)
    threading.Timer(0.5, go.set).start()
    assert handle.result(60) == "done"
    assert steps() == [("slow", "b"), ("close", "a")]
