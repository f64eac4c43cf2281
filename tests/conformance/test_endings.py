"""Ends of runs that only a cluster can get wrong: cancelled from outside, in the middle of a full record, replayed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.conftest import Server

import perdure
from perdure import Retry, defer, defer_every_end, step, workflow
from perdure.engines import registry
from perdure.engines.selection import cluster_at
from perdure.engines.temporal import worker
from perdure.engines.temporal.executions import find
from perdure.errors import Cancelled, DeadlineExceeded, RunError, UsageError
from perdure.store.cluster_snapshot import ListedRun

DEADLINES = ("1s", "3s", "12s", "60s")
"""Ever longer ones: how far a run gets until its time is over depends on the machine."""
LONG = Retry(attempts=5, delay="1h", cap="1h", jitter=0, total="9h")


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Iterator[Bench]:
    """A cluster, with a short record for each execution, and dead workers noticed soon."""
    with Bench(server.url(events=60, dead_after="2s"), tmp_path).in_force() as bench:
        yield bench


@step(retry=None)
def close(what: str) -> None:
    note("close", what)


@step(retry=None, undo=close)
def make(what: str) -> str:
    note("make", what)
    return what


@pytest.fixture
def entered() -> threading.Semaphore:
    """Released by steps that wait."""
    return threading.Semaphore(0)


def cancel(bench: Bench, handle: Any, entered: threading.Semaphore, times: int = 1) -> None:
    """Tell a run to end once its steps are where they are to be; it does, and whoever waits for it is told."""
    for _ in range(times):
        assert entered.acquire(timeout=60)
    engine = cluster_at(bench.engine)
    assert engine.cancel(handle.id).was == "running"


def is_cancelled(bench: Bench, handle: Any) -> bool:
    """Does everybody say so?"""
    with pytest.raises(Cancelled, match="was cancelled") as caught:
        handle.result(60)
    assert caught.value.__notes__[-1].endswith("a run of the same inputs starts anew")
    return cluster_at(bench.engine).status(handle.id) == "cancelled"


def told_of(bench: Bench, handle: Any) -> list[ListedRun]:
    """What the cluster tells about a run and its children."""
    return [told for told in cluster_at(bench.engine).list_runs(handle.id) if told.id.startswith(handle.id)]


# -- cancel -----------------------------------------------------------------------------------------------------------


def test_a_sync_step_ends_before_its_run_is_cancelled(bench: Bench, entered: threading.Semaphore) -> None:
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
    cancel(bench, handle, entered)
    threading.Timer(1.0, go.set).start()
    assert is_cancelled(bench, handle)
    done = [("make", "b"), ("slow", "c"), ("slow ends", "c")]
    assert steps() == [*done, ("close", "c"), ("close", "b"), ("close", "a")]
    assert cluster_at(bench.engine).cancel(handle.id).was == "cancelled", "it is over"
    again = between.start()
    assert again.id != handle.id, "a call with the same inputs starts a new run"
    cancel(bench, again, entered)
    assert is_cancelled(bench, again)


def test_items_under_way_end_before_their_run_is_cancelled(bench: Bench, entered: threading.Semaphore) -> None:
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
    cancel(bench, handle, entered, 3)
    for number, event in enumerate(go.values(), start=1):
        threading.Timer(0.7 * number, event.set).start()
    assert is_cancelled(bench, handle)
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
        family = told_of(bench, handle)
        assert {told.status for told in family} == {"cancelled"}
        child = next(told for told in family if told.parent)
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
    """Whoever waits for it is told; it is a dead letter."""

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
    (told,) = told_of(bench, handle)
    assert [(each.name, each.status) for each in told.steps][-1] == ("defer:stubborn", "dead")


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
    assert steps() == [("make", "child"), "hang", ("close", "inner")]


# -- full records, replays, deaths ------------------------------------------------------------------------------------


def test_clean_ups_go_on_in_new_records(bench: Bench) -> None:
    """More than fit into a record: none is lost, none is made twice, and what failed is not tried again meanwhile."""
    broken = [True]

    @step(retry=None)
    def fragile() -> str:
        note("fragile")
        if broken[0]:
            raise ConnectionError("down")
        return "up"

    @workflow
    def crowded(count: int) -> str:
        for n in range(count):
            defer_every_end(close, f"deferred {n}")
            make(f"{n}")
        return fragile()

    names = [str(n) for n in range(25)]
    error = bench.run(crowded, 25)
    assert isinstance(error, ConnectionError)
    made = [("make", n) for n in names]
    away = [each for n in reversed(names) for each in (("close", n), ("close", f"deferred {n}"))]
    assert steps() == [*made, "fragile", *away]
    broken[0] = False
    ledger.clear()
    assert bench.run(crowded, 25) == "up"
    assert steps() == [*made, "fragile", *(each for each in away if each[1].startswith("deferred"))]


def test_replayed_clean_ups(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that do not fit into a worker's cache are replayed also while they clean up, and come to the same."""
    monkeypatch.setattr(worker, "CACHED", 2)

    @workflow(timeout="1h")
    def squeezed(n: int) -> None:
        for part in range(3):
            defer_every_end(close, f"{n}.{part}")
            make(f"{n}.{part}")
        raise ConnectionError(f"{n}")

    handles = [squeezed.start(n) for n in range(6)]
    for handle in handles:
        with pytest.raises(ConnectionError):
            handle.result(60)
    assert len(ledger) == 6 * 3 * 3
    assert len([each for each in steps() if each[0] == "make"]) == 6 * 3


def test_a_run_that_was_terminated_while_it_cleaned_up(bench: Bench, entered: threading.Semaphore) -> None:
    """What it was failing with is no history; what was undone is done again, what was not stays done."""
    go, broken = threading.Event(), [True]

    @step(retry=None)
    def unmake(what: str) -> None:
        if what == "a" and not go.is_set():
            entered.release()
            assert go.wait(60)
            return
        note("unmake", what)

    @step(retry=None, undo=unmake)
    def build(what: str) -> str:
        note("build", what)
        return what

    @step(retry=None)
    def fragile() -> None:
        note("fragile")
        if broken[0]:
            raise ConnectionError("down")

    @workflow
    def halfway() -> str:
        build("a")
        build("b")
        with contextlib.suppress(ConnectionError):
            fragile()
            return "done"
        raise ValueError("gave up, without another step")

    engine = cluster_at(bench.engine)

    async def terminate(id: str) -> None:
        client = await engine.cluster.client()
        await client.get_workflow_handle((await find(engine.cluster, id)).workflow_id).terminate()

    handle = halfway.start()
    assert entered.acquire(timeout=60)
    engine.cluster.wait(terminate(handle.id))
    with pytest.raises(RunError, match="was terminated"):
        handle.result(60)
    go.set()
    broken[0] = False
    assert bench.run(halfway) == "done"
    assert steps() == [("build", "a"), ("build", "b"), "fragile", ("unmake", "b"), ("build", "b"), "fragile"]


def test_a_clean_up_that_no_worker_knows(bench: Bench) -> None:
    """It is a dead letter that can be seen, also if the run succeeds."""

    @step(name="vanishing")
    def vanishing(what: str) -> None:
        note("never")

    @step(retry=None)
    def last() -> None:
        del registry._known["step", vanishing._spec.main, "vanishing"]

    @workflow
    def forgetful() -> str:
        defer(vanishing, "a")
        defer(close, "b")
        last()
        return perdure.uuid().hex[:0]

    handle = forgetful.start()
    assert handle.result(60) == ""
    assert steps() == [("close", "b")]
    (told,) = told_of(bench, handle)
    assert [(each.name, each.status) for each in told.steps][-2:] == [
        ("defer:close", "done"),
        ("defer:vanishing", "dead"),
    ]


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
    away = [("close", what) for _, what in reversed(made)]
    assert steps() == [*made, *away, ("close", "a")]


def test_children_end_by_themselves_when_time_is_over(bench: Bench) -> None:
    """Their time is over as well: they have failed, and nobody has cancelled them."""

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
    assert [told.status for told in told_of(bench, handle)] == ["failed", "failed"]
