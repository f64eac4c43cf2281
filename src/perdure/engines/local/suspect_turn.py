"""Calls that were in flight when a process died begin one at a time, so that the next crash counts against one of them.

Nobody keeps the turn until its call ends, which may be only when another suspect has: a race that the other one wins,
a queue between them. It passes on when the call has been executed for longer than it had been at its crashes.
"""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from perdure.config.steady_clock import steady
from perdure.engines.runtime.workflow_timers import own_timers

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from perdure.core.execution.effects import Execute


class SuspectTurn:
    """The turn of the suspects of a run: those on threads, and those in each event loop."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._holder: Execute | None = None
        self._until = 0.0
        self._in_loops: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    def take(self, attempt: Execute) -> None:
        """Wait for the turn of a thread, and hold it for `attempt.alone` seconds at most."""
        with self._free:
            while self._holder is not None and (left := self._until - steady()) > 0:
                self._free.wait(left)
            self._holder, self._until = attempt, steady() + attempt.alone

    def leave(self, attempt: Execute) -> None:
        """The attempt is over, or was given up; it need not have the turn any more."""
        with self._free:
            if self._holder is attempt:
                self._holder = None
                self._free.notify()

    @asynccontextmanager
    async def in_loop(self, seconds: float) -> AsyncIterator[None]:
        """Wait for the turn of a task, and hold it until the end, but for so many seconds at most."""
        import asyncio

        loop = asyncio.get_running_loop()
        turn = self._in_loops.setdefault(loop, asyncio.Lock())
        await turn.acquire()
        holds = True

        def leave() -> None:
            nonlocal holds
            if holds:
                holds = False
                turn.release()

        with own_timers():
            timer = loop.call_later(seconds, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()
