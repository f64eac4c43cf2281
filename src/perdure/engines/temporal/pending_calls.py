"""The calls that a run on a cluster waits for, as the cluster has them: begun by a worker, or waiting for one."""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import PendingActivityState

from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.encryption import key_ring
from perdure.engines.temporal.event_history import OpenCall
from perdure.engines.temporal.executions import Found
from perdure.engines.temporal.payloads import Progress, decode
from perdure.store.cluster_snapshot import PendingCall

BEGUN = (
    PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
    PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED,
)


async def pending_calls(cluster: Cluster, found: Found, calls: list[OpenCall]) -> list[PendingCall]:
    """Those of the open calls that the cluster still has to do; they are given what their failed attempts said."""
    by_id = {call.activity: call for call in calls if call.activity}
    if not by_id:
        return []
    client = await cluster.client()
    description = await client.get_workflow_handle(found.workflow_id, run_id=found.run_id).describe()
    pending, ring = [], key_ring(client)
    for one in description.raw_description.pending_activities:
        call = by_id.get(one.activity_id)
        if call is None:
            continue
        progress = Progress()
        if one.heartbeat_details.payloads:
            progress = decode(ring.open(one.heartbeat_details.payloads[0]).data, Progress)
        call.tried = progress.tried
        begun = one.state in BEGUN
        since = one.last_started_time if begun else one.scheduled_time
        due = None if begun or not call.tried else _seconds(one.next_attempt_schedule_time) or None
        who = (call.name, call.key, call.n, call.input)
        pending.append(PendingCall(*who, progress.made + 1, begun, _seconds(since), due, progress.note))
    return pending


def _seconds(moment: Any) -> float:
    return float(moment.ToMicroseconds() / 1e6)
