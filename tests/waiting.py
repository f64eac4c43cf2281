"""Waits for what other threads and processes do: the one place of the suite that looks, sleeps, and looks again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LOOK = 0.01
"""Seconds between two looks."""
PATIENCE = 120.0
"""Seconds until a test gives up: a net for what never comes, far beyond what a busy machine needs."""


def until(condition: Callable[[], Found], what: str = "it") -> Found:
    """What the condition gives as soon as that is true.

    Raises:
        AssertionError: it never is.
    """
    for _ in range(int(PATIENCE / LOOK)):
        if found := condition():
            return found
        time.sleep(LOOK)
    raise AssertionError(f"{what} never happens")


def pause() -> None:
    """A moment, in a loop of a proof that looks by itself, for as long as that says."""
    time.sleep(LOOK)
