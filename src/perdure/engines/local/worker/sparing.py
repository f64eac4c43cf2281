"""Says the same line at growing intervals, where what it is about is tried again and again."""

from __future__ import annotations

from collections.abc import Callable

from perdure.config.steady_clock import steady

MOST = 100
"""Lines that are counted."""

OVER = 600.0
"""Seconds after which a line is news again."""


class Sparing:
    """Says a line the first, second, fourth, eighth time, and so on.

    Args:
        say: says a line.
        now: seconds on a clock that only ever grows.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], float] = steady) -> None:
        self._say = say
        self._now = now
        self._known: dict[str, tuple[int, float]] = {}

    def __call__(self, text: str) -> None:
        """Say it, or only count it."""
        if len(self._known) >= MOST:
            self._known.clear()
        now = self._now()
        times, last = self._known.get(text, (0, now))
        times = times + 1 if now - last < OVER else 1
        self._known[text] = times, now
        if not times & (times - 1):
            self._say(text if times == 1 else f"{text} ({times:,} times until now)")
