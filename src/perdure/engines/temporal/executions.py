"""Executions on a cluster: how the run of an id is found, how it stands, and what its memo says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from perdure.core.records import RunStatus
from perdure.core.values import codec
from perdure.engines.temporal.commands import MEMO
from perdure.engines.temporal.connection import Cluster, is_gone
from perdure.engines.temporal.encryption import KEYS, key_ring
from perdure.engines.temporal.history_reader import read_history
from perdure.engines.temporal.payloads import Published, RunCommand, RunMemo, decode
from perdure.engines.temporal.published_values import published_in
from perdure.errors import DecryptionError, EngineError, NotFound

STATUS: dict[WorkflowExecutionStatus | None, RunStatus] = {
    WorkflowExecutionStatus.COMPLETED: "done",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TERMINATED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
}


class Found(msgspec.Struct, frozen=True):
    """A run on the cluster: its execution, and what its memo says."""

    workflow_id: str
    run_id: str
    memo: RunMemo
    status: RunStatus


async def memo_in(execution: Any) -> RunMemo | None:
    """What perdure noted about an execution; None if it is another program's.

    Raises:
        DecryptionError: it is encrypted with a key that this process does not have.
    """
    data = (await execution.memo()).get(MEMO)
    return decode(data, RunMemo) if type(data) is bytes else None


async def refuse_stranger(cluster: Cluster, workflow: str, queue: str) -> None:
    """Refuse to begin a run where this process cannot read the newest of the same workflow: its key is missing here.

    What it began would be in clear, or with a key that others do not have; and it would not see a run that has failed.

    Raises:
        DecryptionError: so it is.
    """
    if cluster.ring.in_clear or workflow in cluster.readable:
        return
    client = await cluster.client()
    asked = f"WorkflowType = '{_quoted(workflow)}' AND TaskQueue = '{_quoted(queue)}'"
    with suppress(RPCError):  # it may not be allowed to list
        async for execution in client.list_workflows(asked, limit=1):
            try:
                await memo_in(execution)
            except DecryptionError as error:
                would = "with another key" if cluster.ring else "in clear"
                raise DecryptionError(
                    f"a new run of workflow {workflow!r} would be {would}; of the newest there, {error.what}",
                    f"add that key to {KEYS}, or to the file of encryption_keys_file; to go on in clear, write the word"
                    " plain before the keys",
                ) from None
    cluster.readable.add(workflow)


async def find(cluster: Cluster, id: str) -> Found:
    """The run of that id.

    Raises:
        NotFound: there is none.
    """
    found = await describe(cluster, id)
    if found is None:
        workflow_id = id.rpartition(".")[0]
        newest = await describe(cluster, workflow_id) if workflow_id else None
        if newest is not None and newest.memo.id == id:
            return newest
        found = await _older(cluster, workflow_id, id) if newest is not None else None
    if found is None:
        raise NotFound(f"there is no run {id!r} on {cluster.address.target}", "list the runs with `perdure ps`")
    return found


async def _older(cluster: Cluster, workflow_id: str, id: str) -> Found | None:
    client = await cluster.client()
    async for execution in client.list_workflows(f"WorkflowId = '{_quoted(workflow_id)}'"):
        memo = await memo_in(execution)
        if memo is not None and memo.id == id:
            return Found(workflow_id, execution.run_id, memo, STATUS.get(execution.status, "running"))
    return None


def _quoted(text: str) -> str:
    return text.replace("'", "''")


async def describe(cluster: Cluster, workflow_id: str) -> Found | None:
    """The newest execution of a workflow; None if there is none.

    Raises:
        EngineError: the cluster cannot be reached, or the execution is not one of perdure's.
    """
    client = await cluster.client()
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        if is_gone(error):
            raise
        raise EngineError(
            f"the cluster does not describe {workflow_id}: {error}", "check the namespace and the permissions there"
        ) from None
    memo = await memo_in(description)
    if memo is None:
        raise EngineError(f"{workflow_id} is a workflow of another program on that cluster", "give the run another id")
    return Found(workflow_id, description.run_id, memo, STATUS.get(description.status, "running"))


async def published_of(cluster: Cluster, found: Found) -> dict[str, Published]:
    """What a run has published, by name, if people know it by its id."""
    client = await cluster.client()
    description = await client.get_workflow_handle(found.workflow_id, run_id=found.run_id).describe()
    return published_in(await description.memo())


async def root_of(cluster: Cluster, id: str) -> Found:
    """The run that people know, whose id that is, or that of a child run of it.

    Raises:
        NotFound: there is no such run.
    """
    root = await find(cluster, id)
    while root.memo.parent is not None:
        root = await find(cluster, root.memo.parent)
    return root


async def recorded_steps(cluster: Cluster, found: Found) -> int:
    """How many steps a run had done before this execution, or before the one that it goes on from."""
    history = await read_history(await cluster.client(), found.workflow_id, found.run_id)
    if history.command is not None and history.command.carry is not None:
        history = await read_history(await cluster.client(), found.workflow_id, history.command.carry.run)
    return sum(record.kind != "timers" and record.status != "abandoned" for record in history.records)


async def recorded_inputs(cluster: Cluster, found: Found) -> str:
    """The inputs that an execution was started with, as text."""
    client = await cluster.client()
    handle = client.get_workflow_handle(found.workflow_id, run_id=found.run_id)
    async for event in handle.fetch_history_events(page_size=1):
        payload = key_ring(client).open(event.workflow_execution_started_event_attributes.input.payloads[0])
        return codec.describe_inputs(decode(payload.data, RunCommand).input)
    return "(unknown)"
