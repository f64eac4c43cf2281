"""The workers that this process runs for a cluster: what they take, how they poll, and how they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure.engines.temporal.activities import StepActivities
from perdure.engines.temporal.commands import queue_of, task_timeout
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.courier import Courier
from perdure.engines.temporal.lookout import Lookout
from perdure.engines.temporal.ticker import Ticker
from perdure.engines.temporal.worker_logs import quieten
from perdure.engines.temporal.workflow import DynamicWorkflow

CACHED = 100
"""Workflows that a worker keeps at hand, each with a thread; others are replayed when something happens to them."""
POLL = 0.1
"""Seconds between two looks at whether a worker is to end; a signal handler says so, on another thread."""


class Workers:
    """The workers of this process, one a task queue, each for as long as something here needs it.

    Args:
        cluster: the connection; all methods run on its loop.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._activities: StepActivities | None = None
        self._workers: dict[str, tuple[Worker, asyncio.Task[None], int]] = {}
        self._changing: asyncio.Lock | None = None

    async def serve(self, modules: Iterable[str], until: threading.Event, grace: float) -> None:
        """Take the steps and workflows of these scripts until the event is set.

        Args:
            modules: the stems of the files.
            until: set when the workers are to end.
            grace: seconds that steps in flight have to end then.
        """
        async with AsyncExitStack() as stack:
            stems = sorted(set(modules))
            for module in stems:
                await stack.enter_async_context(self.working(queue_of(module), grace))
            lookout = Lookout(self._cluster, (await self.step_activities()).alerts, stems)
            stack.push_async_callback(_end, asyncio.create_task(lookout.look_on()))
            while not until.is_set():
                await asyncio.sleep(POLL)

    async def step_activities(self) -> StepActivities:
        """What executes the steps that this process takes."""
        if self._activities is None:
            quieten()
            self._activities = StepActivities(await self._cluster.client(), self._cluster)
        return self._activities

    @asynccontextmanager
    async def working(self, queue: str, grace: float = 0.0) -> AsyncIterator[None]:
        """Run a worker for a task queue meanwhile; one is enough, however many ask for it.

        Args:
            queue: which.
            grace: seconds that steps in flight have to end, when the last of them is through.
        """
        await self._start(queue, grace)
        try:
            yield
        finally:
            await asyncio.shield(self._release(queue))

    async def _start(self, queue: str, grace: float) -> None:
        self._changing = self._changing or asyncio.Lock()
        async with self._changing:
            if queue in self._workers:
                worker, task, count = self._workers[queue]
                if not task.done():
                    self._workers[queue] = (worker, task, count + 1)
                    return
            worker = await self._worker(queue, grace)
            self._workers[queue] = (worker, asyncio.create_task(worker.run()), 1)

    async def _release(self, queue: str) -> None:
        assert self._changing is not None
        async with self._changing:
            worker, task, count = self._workers[queue]
            if count > 1:
                self._workers[queue] = (worker, task, count - 1)
                return
            del self._workers[queue]
            if not task.done():
                await worker.shutdown()
            await asyncio.gather(task, return_exceptions=True)

    async def _worker(self, queue: str, grace: float) -> Worker:
        dead_after = self._cluster.address.dead_after
        steps = await self.step_activities()
        worker = Worker(
            await self._cluster.client(),
            task_queue=queue,
            workflows=[DynamicWorkflow, Ticker, Courier],
            activities=steps.activities,
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=CACHED,
            graceful_shutdown_timeout=timedelta(seconds=grace),
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=dead_after),
            max_heartbeat_throttle_interval=timedelta(seconds=dead_after / 4),
            default_heartbeat_throttle_interval=timedelta(seconds=dead_after / 4),
            # Whatever goes wrong in a workflow ends the run, which can be resumed; by default Temporal would try the
            # same again for ever. This includes a history that an edited script does not fit.
            workflow_failure_exception_types=[Exception],
        )
        patient(worker, task_timeout(dead_after).total_seconds())
        return worker


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def patient(worker: Any, seconds: float) -> None:
    """Let a workflow's function compute for longer than the 2 seconds after which Temporal's SDK gives up on it.

    The SDK has no option for that; where this attribute is gone, its 2 seconds hold.
    """
    inside = getattr(worker, "_workflow_worker", None)
    if inside is not None and hasattr(inside, "_deadlock_timeout_seconds"):
        inside._deadlock_timeout_seconds = seconds
