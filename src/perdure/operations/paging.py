"""What a page of a list may hold and take: the same for runs, steps and letters."""

from __future__ import annotations

from collections.abc import Callable

PAGE = 200
"""Rows of a page, at most."""

SECONDS = 2.0
"""What looking for a page may take; then it is as full as it is, and its cursor goes on from there."""


class Budget:
    """What one page may hold and take.

    Args:
        limit: how many rows are asked for; at least 1 and at most 200 are given.
        seconds: what it may take.
        clock: of those seconds.
    """

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float]) -> None:
        self.limit = min(max(limit, 1), PAGE)
        self._clock = clock
        self._until = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 if none."""
        return max(self._until - self._clock(), 0.0)

    @property
    def is_spent(self) -> bool:
        """Has it taken too long?"""
        return self._clock() >= self._until
