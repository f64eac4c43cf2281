"""This process's connection to a cluster, and the workers that it lends to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure.engines.temporal.activities import Attempts
from perdure.engines.temporal.address import Address
from perdure.engines.temporal.commands import task_timeout
from perdure.engines.temporal.workflow import Flow
from perdure.errors import EngineError

T = TypeVar("T")

CACHED = 100
"""Workflows that a worker keeps at hand, each with a thread; others are replayed when something happens to them."""
CONNECT = 10.0
"""Seconds to wait for a cluster to answer."""


def queue_of(module: str) -> str:
    """The task queue of a script, given the stem of its file."""
    return f"perdure-{module}"


class Cluster:
    """A connection, on an event loop in a thread of its own."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._attempts: Attempts | None = None
        self._workers: dict[str, tuple[Worker, asyncio.Task[None], int]] = {}
        self._changing: asyncio.Lock | None = None

    # -- from any thread ----------------------------------------------------------------------------------------------

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop, and wait for it; Ctrl-C ends the waiting and the work."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def awaited(self, work: Coroutine[Any, Any, T]) -> T:
        """The same from another loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._running()))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="perdure-cluster", daemon=True).start()
            return self._loop

    # -- on the loop --------------------------------------------------------------------------------------------------

    async def client(self) -> Client:
        """The connection.

        Raises:
            EngineError: nobody answers there.
        """
        if self._client is None:
            address = self.address
            try:
                async with asyncio.timeout(CONNECT):
                    self._client = await Client.connect(
                        address.target, namespace=address.namespace, runtime=quiet_runtime()
                    )
                await self._client.service_client.check_health()
            except (RPCError, RuntimeError, OSError, TimeoutError) as error:
                self._client = None
                raise EngineError(
                    f"no Temporal cluster answers at {address.target} ({type(error).__name__}: {str(error)[:200]})",
                    "see whether it is running: a trial one is `temporal server start-dev`",
                ) from None
        return self._client

    async def attempts(self) -> Attempts:
        """What runs the steps that this process takes."""
        if self._attempts is None:
            self._attempts = Attempts(await self.client())
        return self._attempts

    @asynccontextmanager
    async def working(self, queue: str, grace: float = 0.0) -> AsyncIterator[None]:
        """Lend a worker to a task queue, as long as somebody here wants it to.

        Args:
            queue: which.
            grace: seconds that steps under way have to end, when it is taken back.
        """
        await self._lend(queue, grace)
        try:
            yield
        finally:
            await asyncio.shield(self._take_back(queue))

    async def _lend(self, queue: str, grace: float) -> None:
        self._changing = self._changing or asyncio.Lock()
        async with self._changing:
            if queue in self._workers:
                worker, task, count = self._workers[queue]
                if not task.done():
                    self._workers[queue] = (worker, task, count + 1)
                    return
            worker = await self._worker(queue, grace)
            self._workers[queue] = (worker, asyncio.create_task(worker.run()), 1)

    async def _take_back(self, queue: str) -> None:
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
        dead_after = self.address.dead_after
        attempts = await self.attempts()
        worker = Worker(
            await self.client(),
            task_queue=queue,
            workflows=[Flow],
            activities=attempts.activities,
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


@cache
def quiet_runtime() -> Runtime:
    """Temporal's machinery, without its own lines on stderr about what perdure handles and tells itself."""
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=quiet))


def patient(worker: Any, seconds: float) -> None:
    """Let a workflow's function compute for longer than the 2 seconds after which Temporal's SDK gives up on it.

    The SDK has no option for that; where this attribute is gone, its 2 seconds hold.
    """
    inside = getattr(worker, "_workflow_worker", None)
    if inside is not None and hasattr(inside, "_deadlock_timeout_seconds"):
        inside._deadlock_timeout_seconds = seconds
