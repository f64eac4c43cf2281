"""How a connection is read: by h11, which is strict about HTTP; one whose request does not come is cut, and one that is
too many is answered 503."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE: Final = 5.0
"""Seconds in which the head of a request has to come, from the moment when the server is ready for it."""


class Connection(H11Protocol):
    """A connection of one client."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has come. Whether there is room is decided now: one that is served is served until it goes."""
        super().connection_made(transport)
        most = self.config.limit_concurrency
        # The server counts tasks, too: that of a request is still one when the next of its connection begins.
        self.limit_concurrency = None if most is None or len(self.connections) <= most else 0
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(PATIENCE, self._cut)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _cut(self) -> None:
        self._patience = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.abort()
