"""Time and chance, in one place, so that tests can put others in theirs."""

from __future__ import annotations

import os
import random
import time
from typing import Protocol


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

    def uniform(self) -> float:
        """A random number in [0, 1)."""

    def new_id(self) -> str:
        """Ten random characters that are easy to read and type."""


class RealWorld:
    """The system's clock and randomness."""

    slice = 0.25
    now = staticmethod(time.time)
    clock = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    uniform = staticmethod(random.random)

    async def asleep(self, seconds: float) -> None:
        """Let time pass, for one task."""
        import asyncio

        await asyncio.sleep(seconds)

    def new_id(self) -> str:
        """Ten characters of 5 random bits each (Crockford's base 32: no letter that looks like a digit)."""
        return "".join("0123456789abcdefghjkmnpqrstvwxyz"[byte & 31] for byte in os.urandom(10))
