"""Runs that are cancelled, terminated or left, and calls that attach to a run under way."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.cluster_steps import tick

import perdure
from perdure import step, workflow
from perdure.core.exceptions import capture
from perdure.engines.selection import cluster_at
from perdure.engines.temporal.executions import find
from perdure.errors import RunError


def test_cancel(bench: Bench) -> None:
    """A cancelled run ends; its function is left, with what it has to clean up."""
    left = threading.Event()
    entered = threading.Event()

    @step(retry=None, timeout="60s")
    async def forever() -> None:
        entered.set()
        await asyncio.sleep(60)

    @workflow
    async def cancelled() -> None:
        try:
            await forever()
        finally:
            left.set()

    handle = cancelled.start()
    assert entered.wait(60)
    engine = cluster_at(bench.engine)
    assert engine.cancel(handle.id).was == "running"
    with pytest.raises(RunError, match="was cancelled"):
        handle.result(60)
    assert left.wait(60)
    assert engine.status(handle.id) == "cancelled"


def test_a_run_that_was_terminated(bench: Bench) -> None:
    """What it had moved past was not saved; resumed, also twice, it keeps what it had done and handled."""
    go = threading.Event()
    entered = threading.Semaphore(0)

    @step(retry=None)
    def optional() -> None:
        note("optional")
        raise KeyError("optional")

    @step(retry=None)
    def gate() -> str:
        note("gate")
        entered.release()
        go.wait(60)
        return "through"

    @workflow
    def terminated() -> str:
        try:
            optional()
        except KeyError:
            tick(0)
        return gate()

    engine = cluster_at(bench.engine)

    async def terminate(id: str) -> None:
        client = await engine.cluster.client()
        await client.get_workflow_handle((await find(engine.cluster, id)).workflow_id).terminate()

    for _ in range(2):
        handle = terminated.start()
        assert entered.acquire(timeout=60)
        engine.cluster.wait(terminate(handle.id))
        with pytest.raises(RunError, match="was terminated"):
            handle.result(60)
    (listed,) = (run for run in engine.list_runs(handle.id) if run.id == handle.id)
    assert listed.output is not None
    assert "was terminated" in capture.decode(listed.output).line
    go.set()
    assert bench.run(terminated) == "through"
    assert steps() == ["optional", 0, "gate", "gate", "gate"]


def test_a_workflow_that_exits(bench: Bench) -> None:
    """sys.exit() ends the run, not the worker."""

    @workflow
    def leaving() -> None:
        raise SystemExit(3)

    assert "ended itself with SystemExit(3)" in str(bench.run(leaving))


def test_two_calls_attach_to_one_run(bench: Bench) -> None:
    """A call of a workflow that is under way waits for the same run."""
    go = threading.Event()

    @step(retry=None)
    def gate() -> str:
        note("gate")
        go.wait(60)
        return perdure.idempotency_key()

    @workflow
    def shared() -> str:
        return gate()

    first, second = shared.start(), shared.start()
    go.set()
    assert first.id == second.id
    assert first.result(60) == second.result(60)
    assert len(ledger) == 1
