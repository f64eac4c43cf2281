"""A clock that jumps: no test waits for a retry, a rate limit or a breaker."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from perdure.store.bell import Ear

START = 1_800_000_000.0
"""The time of day at which a clock begins, in seconds since the epoch: 2027-01-15."""

LOOK_SECONDS = 0.05
"""Real seconds between two looks at what has no time of its own."""

TURNS = 25
"""Turns of an event loop without another task that begins to wait, after which all that can wait do."""


class Clock:
    """The time that the engine sees in a test. It moves when somebody waits, to the end of the wait.

    Tasks that wait side by side are woken in the order of their times. Code that asks `time.time()` itself is not
    affected, nor are timeouts of steps, which interrupt real work.

    Args:
        start: the time of day at which it begins, in seconds since the epoch.
    """

    slice = float("inf")

    def __init__(self, start: float = START) -> None:
        self._time = start
        self._slept: list[float] = []
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._quiet = 0
        self._ids = 0

    @property
    def slept(self) -> list[float]:
        """All waits, in seconds, in the order in which they began."""
        return list(self._slept)

    def now(self) -> float:
        """The time of day, in seconds since the epoch."""
        return self._time

    def clock(self) -> float:
        """The same: it never goes back."""
        return self._time

    def advance(self, seconds: float) -> None:
        """Let that much time pass, in seconds; as if the process had been down for so long, say.

        Raises:
            ValueError: it is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds}")
        with self._lock:
            self._time += seconds

    def sleep(self, seconds: float) -> None:
        """A thread waits: the time jumps."""
        with self._lock:
            self._slept.append(seconds)
            self._time += seconds

    async def asleep(self, seconds: float) -> None:
        """A task waits: the time jumps when all tasks do."""
        import asyncio

        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        self._slept.append(seconds)
        heapq.heappush(self._waiting, (self._time + seconds, next(self._numbers), woken))
        self._quiet = 0
        if len(self._waiting) == 1:
            loop.call_soon(self._turn, loop, context=Context())
        await woken

    def rest(self, ear: Ear, seconds: float) -> None:
        """A thread waits for something, or for that long: the time jumps."""
        if math.isfinite(seconds):
            self.sleep(seconds)
        else:
            ear.wait(LOOK_SECONDS)

    async def arest(self, ear: Ear, seconds: float) -> None:
        """The same for a task."""
        if math.isfinite(seconds):
            await self.asleep(seconds)
        else:
            await ear.await_ring(LOOK_SECONDS)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting = [each for each in self._waiting if not each[2].done()]
        if not self._waiting:
            return
        heapq.heapify(self._waiting)
        self._quiet += 1
        if self._quiet > TURNS:
            self._quiet = 0
            until, _, woken = heapq.heappop(self._waiting)
            self._time = max(self._time, until)
            woken.set_result(None)
        if self._waiting:
            loop.call_soon(self._turn, loop, context=Context())

    def uniform(self) -> float:
        """No chance: the jitter of delays is the same each time."""
        return 0.5

    def new_id(self) -> str:
        """Ids count up."""
        self._ids += 1
        return f"{self._ids:010d}"
