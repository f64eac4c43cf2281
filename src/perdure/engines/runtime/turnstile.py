"""Where the tasks of an async map with adaptive concurrency wait to be let through."""

from __future__ import annotations

import asyncio
from collections import deque

from perdure.core.execution.adaptive_concurrency import AdaptiveConcurrency
from perdure.engines.runtime.loop_futures import settle_future


class Turnstile:
    """Lets as many tasks through as adaptive concurrency allows, in the order in which they came."""

    def __init__(self, adaptive: AdaptiveConcurrency) -> None:
        self._adaptive = adaptive
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a place."""
        while self._adaptive.full:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self._adaptive.enter()

    def leave(self) -> None:
        """Give a place back; the tasks that wait look whether they may have one."""
        self._adaptive.leave()
        for _ in range(self._adaptive.limit - self._adaptive.inside):
            if not self._waiting:
                return
            settle_future(self._waiting.popleft())
