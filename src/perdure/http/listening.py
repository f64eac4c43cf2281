"""A socket that listens for HTTP."""

from __future__ import annotations

import socket


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
