"""Time and chance, in one place, so that tests can put others in theirs."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from perdure.config.steady_clock import is_frozen, steady

if TYPE_CHECKING:
    from perdure.store.bell import Ear


_LETTERS = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
"""By byte: its lowest 5 bits as a letter."""


class World(Protocol):
    """Where an engine gets time, randomness and new ids from."""

    slice: float
    """Seconds that a longer wait is cut into, so that it can be called off."""

    def now(self) -> float:
        """The time of day, in seconds since the epoch."""

    def clock(self) -> float:
        """Seconds that only ever grow, for measuring; also while the time of day is being set."""

    def sleep(self, seconds: float) -> None:
        """Let time pass, blocking the thread."""

    async def asleep(self, seconds: float) -> None:
        """Let time pass, for one task."""

    def rest(self, ear: Ear, seconds: float) -> None:
        """Let time pass until somebody rings, blocking the thread."""

    async def arest(self, ear: Ear, seconds: float) -> None:
        """The same for one task."""

    def uniform(self) -> float:
        """A random number in [0, 1)."""

    def new_id(self) -> str:
        """Ten random characters that are easy to read and type."""


class RealWorld:
    """The system's clock and randomness."""

    slice = 0.25
    now = staticmethod(time.time)
    clock = staticmethod(steady)
    sleep = staticmethod(time.sleep)

    def uniform(self) -> float:
        """A random number in [0, 1)."""
        from random import random

        return random()

    async def asleep(self, seconds: float) -> None:
        """Let time pass, for one task."""
        import asyncio

        if not is_frozen():
            await asyncio.sleep(seconds)
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(over.set)

        timer = threading.Timer(seconds, wake)
        timer.daemon = True
        timer.start()
        try:
            await over.wait()
        finally:
            timer.cancel()

    def rest(self, ear: Ear, seconds: float) -> None:
        """Let time pass until somebody rings, blocking the thread."""
        ear.wait(seconds)

    async def arest(self, ear: Ear, seconds: float) -> None:
        """The same for one task."""
        await ear.await_ring(seconds)

    def new_id(self) -> str:
        """Ten characters of 5 random bits each (Crockford's base 32: no letter that looks like a digit)."""
        return os.urandom(10).translate(_LETTERS).decode("ascii")
