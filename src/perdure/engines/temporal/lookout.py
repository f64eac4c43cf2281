"""Looks for runs that Temporal itself has ended, as drift or by a termination: none of their code tells of it then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
from temporalio.client import WorkflowExecution, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from perdure.core.exceptions import capture
from perdure.core.redaction.printable import one_line
from perdure.engines.temporal.alert_activities import AlertActivities
from perdure.engines.temporal.commands import ended_by_cluster, queue_of
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.executions import memo_in
from perdure.engines.temporal.run_notices import RunNotice
from perdure.errors import PerdureError

EVERY = 60.0
"""Seconds between two looks."""
BACK = 600.0
"""Seconds that a look goes back: less than a courier remembers what it was given, so that nothing is sent twice."""

_log = logging.getLogger("perdure")


class Lookout:
    """What a worker looks for as long as it serves.

    Args:
        cluster: where the runs are.
        alerts: what tells.
        modules: the stems of the scripts whose runs they are.
    """

    def __init__(self, cluster: Cluster, alerts: AlertActivities, modules: Collection[str]) -> None:
        self._cluster = cluster
        self._alerts = alerts
        self._modules = {queue_of(module): module for module in modules}
        self._seen: dict[str, float] = {}

    async def look_on(self) -> None:
        """Look now and then, until this is cancelled. Nothing of it may harm what the worker does."""
        while True:
            try:
                await self.look()
            except (RPCError, PerdureError) as error:
                _log.warning("runs that the cluster has ended are not looked for: %s", one_line(str(error)))
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Tell of the runs that have ended so, and that this process has not told of."""
        now = datetime.now(UTC)
        since = (now - timedelta(seconds=BACK)).isoformat()
        self._seen = {run: at for run, at in self._seen.items() if now.timestamp() - at < 2 * BACK}
        client = await self._cluster.client()
        asked = f"ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut') AND CloseTime > '{since}'"
        async for execution in client.list_workflows(asked):
            if execution.task_queue in self._modules and execution.run_id not in self._seen:
                self._seen[execution.run_id] = now.timestamp()
                with suppress(PerdureError):  # it cannot be read here
                    await self._tell(execution)

    async def _tell(self, execution: WorkflowExecution) -> None:
        memo = await memo_in(execution)
        if memo is None or memo.parent is not None:
            return
        module = self._modules[execution.task_queue]
        place, ids = (module, ""), (execution.id, execution.run_id)
        notice = RunNotice("failed", memo.id, memo.name, place, memo.script, ids, 0)
        if not self._alerts.has_targets(notice):
            return
        cause = await self._cause(execution)
        if isinstance(cause, ApplicationError) and cause.details and type(cause.details[0]) is bytes:
            return  # it has ended itself, and has told it
        fault = capture.to_fault(ended_by_cluster(cause, memo.id))
        await self._alerts.tell(msgspec.structs.replace(notice, output=capture.encode(fault)))

    async def _cause(self, execution: WorkflowExecution) -> BaseException | None:
        client = await self._cluster.client()
        try:
            await client.get_workflow_handle(execution.id, run_id=execution.run_id, result_type=bytes).result()
        except WorkflowFailureError as failed:
            return failed.cause
        return None
