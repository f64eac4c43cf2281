"""Runs that are enqueued on a cluster, and what runs publish there: who executes them, when, and what is refused."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client
from tests.conformance.bench import Bench, steps
from tests.conformance.cluster_steps import executions, tick

import perdure
from perdure import step, workflow
from perdure.engines.declared_queues import queues
from perdure.errors import NotFound, TooLarge, UsageError
from perdure.operations.location import locate, opened
from perdure.operations.ps import RunFilter, list_runs
from perdure.operations.resume_all import Wanted, unfinished
from perdure.operations.why import explain
from waiting import until


@workflow
def doubled_elsewhere(n: int) -> int:
    return tick(n) + n - 1


@workflow
def has_come(moment: float) -> bool:
    return perdure.now().timestamp() >= moment


@workflow
def enqueues_and_waits(count: int) -> list[int]:
    return [handle.result() for handle in [doubled_elsewhere.enqueue(n) for n in range(count)]]


@workflow
def result_of(id: str) -> Any:
    return perdure.run(id).result()


@workflow
def waits_for_one(id: str) -> Any:
    perdure.signal(id, "wakes it too early")
    return perdure.run(id).result()


def test_enqueued_runs_are_executed_by_workers(bench: Bench) -> None:
    """A workflow waits for their results without a process of its own; one with a delay never begins before that."""
    assert bench.run(enqueues_and_waits, 3) == [0, 2, 4]
    soon = datetime.now(UTC) + timedelta(seconds=1)
    handle = has_come.with_options(id="delayed", at=soon).enqueue(soon.timestamp())
    assert bench.run(waits_for_one, handle.id) is True
    assert (handle.status(), handle.result(60)) == ("done", True)
    many = doubled_elsewhere.with_options(priority=0, key="k").enqueue_many([(n,) for n in range(3)])
    assert len({one.id for one in many}) == 3
    for one in many:
        one.cancel()


@workflow
def looks_at(id: str) -> list[str]:
    handle = perdure.run(id)
    perdure.runs(workflow="has_come", most=1)
    return [handle.status(), handle.cancel().outcome]


def test_what_a_workflow_sees_of_other_runs_is_recorded(bench: Bench) -> None:
    """Status, lists and cancellations are steps there, too: Temporal has their answers when it replays the run."""
    id = doubled_elsewhere.with_options(id="looked-at", delay="1h").enqueue(1).id
    assert bench.run(looks_at.with_options(id="looks-at"), id) == ["queued", "requested"]
    with opened(locate(), "looks-at") as store:
        names = [name for _, name, *_ in store.index(store.run("looks-at").rid)]
    assert names == ["perdure.runs", "perdure.status", "perdure.cancel"]


ids: list[str | None] = []


@workflow
def calls_by_id(n: int) -> int:
    id = ids[0]
    found = doubled_elsewhere(n) if id is None else doubled_elsewhere.with_options(id=id)(n)
    gate()
    return found


@step(retry=None)
def gate() -> None:
    if len(ids) > 1:
        raise ValueError("not yet")


@pytest.mark.parametrize(("before", "after"), [("by-id", "other-id"), ("taken", None), (None, "given")])
def test_an_id_that_an_edit_changes_is_drift(bench: Bench, before: str | None, after: str | None) -> None:
    """A run that a workflow calls by an id is a run of its own there too, and executed once."""
    ids[:] = [before, "closed"]
    assert "not yet" in str(bench.run(calls_by_id, 3))
    ids[0] = after
    assert "[code-drift]" in str(bench.run(calls_by_id, 3))
    ids[:] = [before]
    assert bench.run(calls_by_id, 3) == 6
    assert steps() == [3]


def test_a_run_that_no_worker_has_taken_is_queued(bench: Bench) -> None:
    """It is listed so, with its queue and its time, until a worker begins it; the server is told its priority."""
    waits = doubled_elsewhere.with_options(id="not-taken", priority=0, queue="mail").enqueue(1)
    delayed = doubled_elsewhere.with_options(id="not-yet", delay="1h", priority=100).enqueue(1)
    perdure.signal(delayed.id, "a worker looks at it, and leaves it")
    listed = until(lambda: (found := listed_waits()).keys() >= {waits.id, delayed.id} and found)
    assert listed[waits.id] == "queue mail, no worker has taken it yet"
    assert "not before" in str(listed[delayed.id])
    with opened(locate(), waits.id) as store:
        said = explain(store, store.run(waits.id), locate()).reasons[0]
    assert said == f"it stands in a queue, and has not begun: {listed[waits.id]}"
    assert [level(bench, each.id) for each in (waits, delayed)] == [1, 5]
    # It tells of its end a moment before: who asks in that moment ends, and with it the only worker.
    until(lambda: bench.run(result_of, waits.id) == 2 and waits.status() == "done")
    assert delayed.status() == "queued"
    assert delayed.cancel().outcome == "requested"


def listed_waits() -> dict[str, str | None]:
    """The queued runs, and what each waits for; the list of a cluster lags behind."""
    with opened(locate()) as store:
        return {each.id: each.waits for each in list_runs(store, RunFilter("queued"))}


def level(bench: Bench, id: str) -> int:
    """The priority that Temporal has for an execution."""

    async def look() -> int:
        client = await Client.connect(bench.engine.removeprefix("temporal://").partition("/")[0])
        found = await client.get_workflow_handle(id).describe()
        return found.raw_description.workflow_execution_info.priority.priority_key

    return asyncio.run(look())


def test_failed_runs_of_a_cluster_are_found_to_be_resumed(bench: Bench) -> None:
    """`perdure resume --all` has those that have failed, and of those that wait, sleep or are done none."""

    @workflow
    def fails_on_a_cluster(name: str) -> None:
        raise LookupError(name)

    for name in ("first", "second"):
        assert isinstance(bench.run(fails_on_a_cluster.with_options(id=f"to-be-resumed-{name}"), name), LookupError)

    def to_resume() -> list[str]:
        with opened(locate()) as store:
            wanted = Wanted(workflow="fails_on_a_cluster")
            return [each.id for each in unfinished(store, locate(), wanted, time.time()).runs]

    until(lambda: to_resume() == ["to-be-resumed-first", "to-be-resumed-second"])  # the list of a cluster lags behind


def test_limits_are_refused(bench: Bench) -> None:
    """They are counted in a state file: a queue that has some is refused by name, and so is a look at queues."""
    limited = perdure.Queue("limited-on-a-cluster", concurrency=1)
    try:
        with pytest.raises(UsageError, match="'limited-on-a-cluster', which has limits,"):
            doubled_elsewhere.with_options(queue=limited).enqueue(1)
    finally:
        del queues["limited-on-a-cluster"]  # whatever lists queues in this process would declare it, too
    assert doubled_elsewhere.with_options(queue="only a name", delay="1h").enqueue(1).cancel().outcome == "requested"


def test_published_values_outlive_records_and_are_bounded(bench: Bench) -> None:
    """A run that goes on in a new record keeps them; what is too large is refused; who asks too early is told."""

    @workflow
    def publishes_much(count: int) -> None:
        perdure.publish("first", "kept")
        for n in range(count):
            perdure.publish("n", tick(n))
            perdure.set_progress(n, count)

    handle = publishes_much.with_options(id="publishes-much").start(25)
    assert handle.result(60) is None
    assert executions(bench, "publishes_much") > 1
    assert [handle.published(name) for name in ("first", "n", "perdure.progress")] == ["kept", 25, [24, 25, ""]]
    with pytest.raises(NotFound, match="has not published 'other'"):
        handle.published("other")

    @workflow
    def publishes_too_much() -> None:
        perdure.publish("large", "x" * 1_000_001)

    assert isinstance(bench.run(publishes_too_much), TooLarge)
