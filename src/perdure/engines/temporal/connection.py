"""This process's connection to a cluster."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from functools import cache, cached_property
from shlex import quote
from typing import Any, TypeVar

from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, RPCStatusCode

from perdure.config import settings
from perdure.config.secrets import Secret, conceal
from perdure.engines.temporal.address import Address
from perdure.engines.temporal.credentials import api_key_of, tls_of
from perdure.engines.temporal.encryption import KeyRing, data_converter, key_ring_of
from perdure.errors import EngineError

T = TypeVar("T")

CONNECT = 10.0
"""Seconds to wait for a cluster to answer."""
SAID = 300
"""Characters of what the connection says of itself."""

REASONS = [
    (re.compile(pattern), what, hint)
    for pattern, what, hint in (
        (
            "NotValidForName|not valid for name",
            "the certificate of {target} is not for {name}",
            "name the host as its certificate does, or give that name as tls_server_name",
        ),
        (
            "UnknownIssuer|BadSignature|CaUsedAsEndEntity",
            "the certificate of {target} is signed by none that is trusted",
            "name the certificate of the authority that has signed it: tls_ca_file",
        ),
        (
            "invalid peer certificate: Expired|NotValidYet",
            "the certificate of {target} is out of date",
            "let it be renewed; see whether the clock of this machine is right",
        ),
        (
            "CertificateRequired|UnknownCA|BadCertificate|DecryptError|AccessDenied|received fatal alert",
            "{target} refuses the certificate of this process",
            "give one that it trusts: tls_cert_file and tls_key_file",
        ),
        (
            "close_notify|unexpected-eof|connection closed|operation was canceled",
            "{target} ends the connection",
            "see what it logs; if it wants a certificate of its clients, give tls_cert_file and tls_key_file",
        ),
        (
            "Unauthenticated|PermissionDenied|UNAUTHENTICATED|PERMISSION_DENIED",
            "{target} refuses this process",
            "see whether the API key is right (PERDURE_API_KEY, api_key_file) and may use this namespace",
        ),
    )
]

NO_ANSWER = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
UNTOLD = (RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL)
BROKEN = ("transport error", "h2 protocol error", "error reading a body from connection")
"""What the SDK's connection says, under those codes, when it breaks in the middle of a request."""


class Cluster:
    """A connection, on an event loop in a thread of its own. `url` is what the address was made of."""

    def __init__(self, address: Address, url: str = "") -> None:
        self.address = address
        self.url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._api_key: Secret[str] | None = None
        self.readable: set[str] = set()
        """Workflows whose runs this process can read."""

    @cached_property
    def ring(self) -> KeyRing:
        """The keys that encrypt what the cluster stores; empty if there are none.

        Raises:
            OptionError: they cannot be read.
        """
        return key_ring_of(self.address)

    # -- from any thread ----------------------------------------------------------------------------------------------

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop, and wait for it; Ctrl-C ends the waiting and the work.

        Raises:
            EngineError: the cluster goes away meanwhile, or refuses a request.
        """
        future = asyncio.run_coroutine_threadsafe(self.asked(work), self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Do something on the loop, without waiting for it."""
        return asyncio.run_coroutine_threadsafe(self.asked(work), self._running())

    async def awaited(self, work: Coroutine[Any, Any, T]) -> T:
        """The same from another loop."""
        return await asyncio.wrap_future(self.begin(work))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="perdure-cluster", daemon=True).start()
            return self._loop

    # -- on the loop --------------------------------------------------------------------------------------------------

    async def asked(self, work: Awaitable[T]) -> T:
        """Do something that asks the cluster; no error of Temporal's own connection gets out of here.

        Raises:
            EngineError: the cluster goes away meanwhile, or refuses a request.
        """
        try:
            return await work
        except RPCError as error:
            if is_gone(error):
                self._client = None  # the next one connects anew
            raise unanswered(self.address, error) from None

    async def client(self) -> Client:
        """The connection.

        Raises:
            EngineError: no answer from there, or it refuses this process.
            OptionError: a certificate or a key cannot be read.
        """
        if self._client is None:
            address = self.address
            tls, api_key, converter = tls_of(address), api_key_of(address), data_converter(self.ring)
            try:
                async with asyncio.timeout(CONNECT):
                    self._client = await Client.connect(
                        address.target,
                        namespace=address.namespace,
                        tls=tls,
                        api_key=None if api_key is None else api_key.reveal(),
                        data_converter=converter,
                        runtime=quiet_runtime(),
                    )
                await self._client.service_client.check_health()
            except (RPCError, RuntimeError, OSError, TimeoutError) as error:
                self._client = None
                raise no_answer(address, error) from None
            self._api_key = api_key  # as long as it lives, no text of perdure's holds it
        return self._client


def engine_option(url: str, script: str) -> str:
    """What is to be added to a command so that it finds the runs of that cluster; empty if it does so without."""
    return "" if url == settings.engine_url(script) else f" --engine {quote(url)}"


def no_answer(address: Address, error: Exception) -> EngineError:
    """The error of a connection that could not be made, and what is most likely wrong."""
    said = " ".join(str(error).split())
    name = address.tls_server_name or address.target.rpartition(":")[0]
    for pattern, what, hint in REASONS if address.tls else ():
        if pattern.search(said):
            return EngineError(f"{what.format(target=address.target, name=name)} ({_short(said)})", hint)
    hint = "see whether it is running: a trial one is `temporal server start-dev`"
    if not address.tls:
        hint += "; one with TLS has the address temporal+tls://HOST:PORT/NAMESPACE"
    return EngineError(
        f"no Temporal cluster answers at {address.target} ({type(error).__name__}: {_short(said)})", hint
    )


def is_gone(error: RPCError) -> bool:
    """Did no answer come at all?"""
    return error.status in NO_ANSWER or (error.status in UNTOLD and any(text in error.message for text in BROKEN))


def unanswered(address: Address, error: RPCError) -> EngineError:
    """The error of a request to a cluster that had answered before."""
    said = _short(" ".join(str(error).split()))
    if is_gone(error):
        return EngineError(
            f"the Temporal cluster at {address.target} does not answer any more ({said})",
            "see whether it is running, and run again: nothing is lost, runs there go on with it",
        )
    return EngineError(
        f"the Temporal cluster at {address.target} refuses a request ({error.status.name}: {said})",
        "check the namespace and the permissions there",
    )


def _short(said: str) -> str:
    text = conceal(said)
    return text if len(text) <= SAID else f"{text[: SAID // 2]}...{text[-SAID // 2 :]}"


@cache
def quiet_runtime() -> Runtime:
    """Temporal's machinery, without its own lines on stderr about what perdure handles and logs itself."""
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=quiet))
