"""Clean-ups on a cluster: through full records, replays, terminations, and steps that no worker knows."""

from __future__ import annotations

import contextlib
import threading

import pytest
from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.ending_steps import close, listed, make
from tests.conformance.shape import fails_at_first

import perdure
from perdure import defer, defer_every_end, step, workflow
from perdure.engines import registry
from perdure.engines.selection import cluster_at
from perdure.engines.temporal import worker
from perdure.engines.temporal.executions import find
from perdure.errors import RunError


def test_clean_ups_go_on_in_new_records(bench: Bench) -> None:
    """More than fit into a record: none is lost, none is made twice, and what failed is not tried again meanwhile."""
    fragile, broken = fails_at_first()

    @workflow
    def crowded(count: int) -> str:
        for n in range(count):
            defer_every_end(close, f"deferred {n}")
            make(f"{n}")
        return fragile()

    names = [str(n) for n in range(14)]
    error = bench.run(crowded, 14)
    assert isinstance(error, ConnectionError)
    made = [("make", n) for n in names]
    away = [each for n in reversed(names) for each in (("close", n), ("close", f"deferred {n}"))]
    assert steps() == [*made, "fragile", *away]
    broken[0] = False
    ledger.clear()
    assert bench.run(crowded, 14) == "up"
    assert steps() == [*made, "fragile", *(each for each in away if each[1].startswith("deferred"))]


def test_clean_ups_in_new_records_are_those_of_the_run(bench: Bench) -> None:
    """Another function under the same step name is not taken for it, also where the workflow is not called again."""

    @step(name="put_away", retry=None)
    def put_away(what: str) -> None:
        note("put away", what)

    @step(name="put_away", retry=None)
    def of_another_workflow(what: str) -> None:
        note("wrong", what)

    @workflow
    def crowded_too(count: int) -> None:
        for n in range(count):
            defer_every_end(put_away, f"{n}")
        raise ConnectionError("down")

    assert of_another_workflow is not put_away
    assert isinstance(bench.run(crowded_too, 14), ConnectionError)
    assert steps() == [("put away", f"{n}") for n in reversed(range(14))]


def test_replayed_clean_ups(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that do not fit into a worker's cache are replayed also while they clean up, and come to the same."""
    monkeypatch.setattr(worker, "CACHED", 2)

    @workflow(timeout="1h")
    def squeezed(n: int) -> None:
        for part in range(3):
            defer_every_end(close, f"{n}.{part}")
            make(f"{n}.{part}")
        raise ConnectionError(f"{n}")

    handles = [squeezed.start(n) for n in range(4)]
    for handle in handles:
        with pytest.raises(ConnectionError):
            handle.result(60)
    assert len(ledger) == 4 * 3 * 3
    assert len([each for each in steps() if each[0] == "make"]) == 4 * 3


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
        registry.forget(vanishing._spec)

    @workflow
    def forgetful() -> str:
        defer(vanishing, "a")
        defer(close, "b")
        last()
        return perdure.uuid().hex[:0]

    handle = forgetful.start()
    assert handle.result(60) == ""
    assert steps() == [("close", "b")]
    (run,) = listed(bench, handle)
    assert [(each.name, each.status) for each in run.steps][-2:] == [
        ("defer:close", "done"),
        ("defer:vanishing", "dead"),
    ]
