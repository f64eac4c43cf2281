"""A socket that listens for HTTP, and a server for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

    import uvicorn


def listening(host: str, port: int, waiting: int) -> socket.socket:
    """A socket that listens at a TCP port.

    Args:
        host: an address of IPv4 or IPv6, or a name.
        port: 0 takes a free one.
        waiting: how many connections may wait to be accepted.

    Raises:
        OSError: the port is in use, or not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Asyncio turns Nagle's algorithm off only for connections whose protocol is said: else each answer waits 40 ms for
    # the client's delayed acknowledgement of its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(waiting)
    except OSError:
        listener.close()
        raise
    return listener


@cache
def _server_class() -> type[uvicorn.Server]:
    import uvicorn
    from uvicorn.server import ServerState

    class State(ServerState):
        """What connections share. The date of an answer is made when it is asked for, and not once a second."""

        fixed: Sequence[tuple[bytes, bytes]] = ()

        @property
        def default_headers(self) -> list[tuple[bytes, bytes]]:
            return [(b"date", formatdate(usegmt=True).encode()), *self.fixed]

        @default_headers.setter
        def default_headers(self, given: list[tuple[bytes, bytes]]) -> None:
            self.fixed = [one for one in given if one[0] != b"date"]

    class Server(uvicorn.Server):
        """One that does nothing while nobody asks; a signal ends it at once."""

        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.server_state = State()

        async def main_loop(self) -> None:
            """Until it is to end."""
            self._signalled = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            while not await self.on_tick(0):  # 0: the headers that all answers have are set
                await self._signalled.wait()
                self._signalled.clear()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """A signal has come."""
            super().handle_exit(sig, frame)
            self.wake()

        def wake(self) -> None:
            """Look at once whether it is to end; from any thread, or a handler of a signal."""
            with suppress(AttributeError, RuntimeError):  # it has not begun, or is over
                self._loop.call_soon_threadsafe(self._signalled.set)

    return Server


def stop(served: uvicorn.Server) -> None:
    """Have a server end, from another thread."""
    served.should_exit = True
    wake: Callable[[], None] = getattr(served, "wake")  # noqa: B009  of the class that is made above
    wake()


def server(app: Any, at_once: int, **more: Any) -> uvicorn.Server:
    """A server. Addresses and headers hold tokens: none is logged, and no header of a proxy is believed.

    Args:
        app: what answers (ASGI).
        at_once: requests that are served at a time; further ones are answered 503.
        more: further settings of uvicorn.
    """
    import uvicorn

    return _server_class()(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=at_once,
            timeout_keep_alive=5,
            ws="none",
            **more,
        )
    )
