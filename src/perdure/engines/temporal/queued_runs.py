"""Runs of a cluster that have not begun: no worker has taken them, or they wait for others of their schedule."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import EventType

from perdure.core.execution.run_refusals import after_others
from perdure.core.records import RunRecord, RunStatus
from perdure.engines.interface import Cancellation
from perdure.engines.temporal import schedules
from perdure.engines.temporal.executions import Found, find
from perdure.engines.temporal.schedule_state import Deed
from perdure.errors import NotFound
from perdure.store.cluster_snapshot import ListedRun
from perdure.store.queue import AFTER_OTHERS

if TYPE_CHECKING:
    from perdure.engines.temporal.connection import Cluster


async def status_of(cluster: Cluster, id: str) -> RunStatus:
    """How the run of that id stands.

    Raises:
        NotFound: there is no such run.
    """
    try:
        found = await find(cluster, id)
    except NotFound:
        if (waiting := await waiting_in_schedule(cluster, id)) is None:
            raise
        return waiting[1].status
    return found.status if await has_begun(cluster, found) else "queued"


async def has_begun(cluster: Cluster, found: Found) -> bool:
    """Has a worker taken the run, and its time come?"""
    if found.status != "running" or not found.memo.queue:
        return True
    if is_delayed(found):
        return False
    client = await cluster.client()
    async for event in client.get_workflow_handle(found.workflow_id, run_id=found.run_id).fetch_history_events():
        started = event.workflow_execution_started_event_attributes
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED or started.continued_execution_run_id:
            return True
    return False


def is_delayed(found: Found) -> bool:
    """Has its time not come? A signal has a worker look at the run before, which does nothing then."""
    return found.memo.not_before is not None and found.memo.not_before > time.time()


async def waiting_in_schedules(cluster: Cluster) -> dict[str, tuple[str, RunRecord]]:
    """The runs that wait for others of their schedule, or were cancelled meanwhile: by id, with the name of that."""
    copies = await schedules.states(cluster)
    return {
        run.id: (copy.schedule.name, run)
        for copy in copies
        for run in copy.runs
        if run.status in ("queued", "cancelled") and run.hold == AFTER_OTHERS
    }


async def waiting_in_schedule(cluster: Cluster, id: str) -> tuple[str, RunRecord] | None:
    """The run of that id, if it waits so, or did until it was cancelled; and the name of its schedule."""
    return (await waiting_in_schedules(cluster)).get(id) if "@" in id else None


async def refuse_waiting(cluster: Cluster, id: str | None) -> None:
    """Return if no run of that id waits so: such a one cannot be gone on with.

    Raises:
        RunError: one does.
    """
    if id is not None and await waiting_in_schedule(cluster, id) is not None:
        raise after_others(id)


def listed_so(run: RunRecord) -> ListedRun:
    """Such a run, for a list."""
    about = (run.id, run.path, run.workflow, run.key, None, run.status, run.input, None)
    return ListedRun(*about, run.created, run.started, run.ended, queue=run.queue, hold=run.hold)


async def cancel_waiting(cluster: Cluster, id: str) -> Cancellation:
    """Have the schedule of a run that waits for those before it make nothing of it.

    Raises:
        NotFound: there is no such run.
    """
    found = await waiting_in_schedule(cluster, id)
    if found is None:
        await find(cluster, id)  # raises what there is to say
        return Cancellation("queued", "none")
    schedule, run = found
    if run.status == "cancelled":
        return Cancellation("cancelled", "none")
    await schedules.ask(cluster, schedule, Deed("cancel", time.time(), run=run.id))
    return Cancellation("queued", "requested")
