"""This process's connection to a cluster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError

from perdure.engines.temporal.address import Address
from perdure.errors import EngineError

T = TypeVar("T")

CONNECT = 10.0
"""Seconds to wait for a cluster to answer."""


class Cluster:
    """A connection, on an event loop in a thread of its own."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._client: Client | None = None

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
            EngineError: no answer from there.
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


@cache
def quiet_runtime() -> Runtime:
    """Temporal's machinery, without its own lines on stderr about what perdure handles and logs itself."""
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=quiet))
