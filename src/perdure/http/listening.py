"""A socket that listens for HTTP, and a server for it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def server(app: Any, at_once: int, **more: Any) -> uvicorn.Server:
    """A server. Addresses and headers hold tokens: none is logged, and no header of a proxy is believed.

    Args:
        app: what answers (ASGI).
        at_once: requests that are served at a time; further ones are answered 503.
        more: further settings of uvicorn.
    """
    import uvicorn

    return uvicorn.Server(
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
