"""Sees that the clock of the machine was set."""

from __future__ import annotations

import time

JUMP = 60.0
"""Seconds that the clock may differ from the time that has passed, between two looks."""


class Clock:
    """Compares the time of day with a clock that nobody sets, and that goes on while the machine sleeps."""

    def __init__(self) -> None:
        self._difference = _difference()

    def look(self) -> float | None:
        """By how many seconds the clock was set since the last look; None if by no more than a minute."""
        before, self._difference = self._difference, _difference()
        jump = self._difference - before
        return jump if abs(jump) > JUMP else None


def _difference() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() - (time.monotonic() if clock is None else time.clock_gettime(clock))
