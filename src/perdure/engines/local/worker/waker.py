"""Wakes the one thread that waits, from other threads and from signal handlers."""

from __future__ import annotations

import threading
from contextlib import suppress


class Waker:
    """Remembers that it was set until it is waited for.

    A bare lock: what `threading.Event` holds inside may be held by the very thread that a signal handler interrupts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the thread that waits, or that waits next."""
        with suppress(RuntimeError):  # it was set before
            self._lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, at most so many seconds (None: without a bound); returns whether it was."""
        if seconds is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=max(seconds, 0.0))
