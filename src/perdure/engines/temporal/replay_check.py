"""Does an edited script fit the runs under way? Their histories are replayed against it; no step is executed."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from perdure.core.values import codec
from perdure.engines.interface import ReplayCheck
from perdure.engines.temporal.commands import RECALL, queue_of
from perdure.engines.temporal.connection import Cluster, quiet_runtime
from perdure.engines.temporal.encryption import KeyRing, key_ring
from perdure.engines.temporal.executions import memo_in
from perdure.engines.temporal.nondeterminism import explain
from perdure.engines.temporal.payloads import RunCommand, StepCommand, decode
from perdure.engines.temporal.run_notices import NOTICE
from perdure.engines.temporal.workflow import DynamicWorkflow


async def check_runs(cluster: Cluster, modules: Iterable[str]) -> list[ReplayCheck]:
    """Every run under way of these scripts (the stems of their files), as this process has loaded them now.

    Raises:
        EngineError: the cluster cannot be reached.
    """
    client = await cluster.client()
    queues = {queue_of(module) for module in modules}
    found = []
    async for execution in client.list_workflows("ExecutionStatus = 'Running'"):
        memo = await memo_in(execution)
        if memo is not None and execution.task_queue in queues:
            where = await _nondeterminism(client, execution.id, execution.run_id)
            found.append(ReplayCheck(memo.id, memo.name, where is None, where or ""))
    return sorted(found, key=lambda check: (check.fits, check.run))


async def _nondeterminism(client: Client, id: str, run: str) -> str | None:
    """Where an execution does not fit; None if it does."""
    history = await client.get_workflow_handle(id, run_id=run).fetch_history()
    # Its own executor is shut down too early for workflows that end before their histories do.
    with ThreadPoolExecutor(4) as executor:
        replayer = Replayer(
            workflows=[DynamicWorkflow],
            workflow_runner=UnsandboxedWorkflowRunner(),
            workflow_task_executor=executor,
            runtime=quiet_runtime(),
            data_converter=client.data_converter,
        )
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    if result.replay_failure is None:
        return None
    return explain(str(result.replay_failure), _calls(history, key_ring(client)))


def _calls(history: WorkflowHistory, ring: KeyRing) -> dict[str, str]:
    """What the run has called, as text, by activity id and by the number of its event."""
    calls: dict[str, str] = {}
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name not in (RECALL, NOTICE):
                command = decode(ring.open(scheduled.input.payloads[0]).data, StepCommand)
                text = f"{command.name}{codec.describe_inputs(command.input)}"
                calls[scheduled.activity_id] = calls[str(event.event_id)] = text
        elif event.HasField("start_child_workflow_execution_initiated_event_attributes"):
            started = event.start_child_workflow_execution_initiated_event_attributes
            child = decode(ring.open(started.input.payloads[0]).data, RunCommand)
            calls[str(event.event_id)] = f"workflow {child.name}{codec.describe_inputs(child.input)}"
    return calls
