"""How runs of a cluster end: for who waits for a result, for who waits for an end, and for who only looks."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError

from perdure.core.exceptions import capture, notes
from perdure.core.execution.run_refusals import cancelled
from perdure.core.execution.spec import Call
from perdure.core.records import CLEAN_UPS, RunRecord, RunStatus
from perdure.engines.temporal.commands import ended_by_cluster, failure_of
from perdure.engines.temporal.connection import Cluster, is_gone
from perdure.engines.temporal.executions import Found, find
from perdure.engines.temporal.history_reader import read_history
from perdure.engines.temporal.payloads import RunFailed, RunLook, decode
from perdure.errors import Cancelled, EngineError, NotFound, StopRun


class RunEnd(NamedTuple):
    """How a run has ended: with a packed result, or with an error."""

    status: RunStatus
    payload: bytes = b""
    error: Exception | None = None


async def end_of(cluster: Cluster, found: Found, call: Call) -> RunEnd:
    """Wait for the end of a run that is executed for a call."""
    client = await cluster.client()
    handle = client.get_workflow_handle(found.workflow_id, run_id=found.run_id, result_type=bytes)
    try:
        return RunEnd("done", await cluster.asked(handle.result()))
    except WorkflowFailureError as failed:
        cause = failed.cause
    if isinstance(cause, CancelledError):
        return RunEnd("cancelled", error=await _cancelled(cluster, found))
    try:
        return RunEnd("failed", error=failure_of(cause, found.memo.id, call.spec))
    except StopRun as stop:
        return RunEnd("failed", error=stop.error)


async def _cancelled(cluster: Cluster, found: Found) -> Cancelled:
    """The error for a run that was cancelled, with what it could not clean up; Temporal keeps no error of it."""
    error = cancelled(found.memo.id)
    history = await read_history(await cluster.client(), found.workflow_id, found.run_id)
    for record in history.records:
        if record.status == "dead" and record.kind in CLEAN_UPS:
            notes.add(error, f"perdure: clean-up {record.name} has failed, and is a dead letter")
    notes.add(error, f"perdure: run {found.memo.id} was cancelled; a run of the same inputs starts anew")
    return error


async def ending(cluster: Cluster, id: str) -> RunRecord:
    """The run of that id, as soon as it has ended: also if that is in a later execution.

    Raises:
        NotFound: there is none.
        EngineError: the cluster does not say any more how it has ended.
    """
    found = await find(cluster, id)
    client = await cluster.client()
    handle = client.get_workflow_handle(found.workflow_id, run_id=found.run_id, result_type=bytes)
    status, output = "done", None
    try:
        output = await handle.result()
    except WorkflowFailureError as failed:
        cause = failed.cause
        status = "cancelled" if isinstance(cause, CancelledError) else "failed"
        if isinstance(cause, ApplicationError) and cause.details and type(cause.details[0]) is bytes:
            output = decode(cause.details[0], RunFailed).fault
        elif status == "failed":
            output = capture.encode(capture.to_fault(ended_by_cluster(cause, id)))
    except RPCError as error:
        if is_gone(error):
            raise
        raise EngineError(
            f"the cluster does not say how run {id} ends: {error}", "see it with `perdure show`"
        ) from None
    memo = found.memo
    about = (0, memo.id, os.path.basename(memo.script), memo.script, memo.name, memo.key, True, None, status, None, 0)
    return RunRecord(*about, b"", output, memo.created, memo.created, time.time(), 0)  # type: ignore[arg-type]


async def look_at(cluster: Cluster, id: str) -> RunLook:
    """How the run of that id stands at this moment; one that does not exist has failed with that."""
    try:
        found = await find(cluster, id)
    except NotFound as error:
        return RunLook("", "failed", time.time(), capture.encode(capture.to_fault(error)))
    if found.status == "running":
        return RunLook(found.workflow_id)
    client = await cluster.client()
    description = await client.get_workflow_handle(found.workflow_id, run_id=found.run_id).describe()
    closed = description.close_time
    end = await ending(cluster, id)
    return RunLook(found.workflow_id, end.status, closed.timestamp() if closed else time.time(), end.output)
