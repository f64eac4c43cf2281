"""Interrupts the main thread at a deadline, although a library has taken the process's alarm for itself.

A library that calls `signal.alarm` or handles SIGALRM inside of a step cancels the timer that bounds the step, and
nothing reports that. So a thread watches the deadlines as well, and interrupts with a signal that libraries do not use.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps each call in an enum: 7 us a step
import os
import threading
from collections.abc import Callable
from types import FrameType

from perdure.config.steady_clock import steady

Fire = Callable[[int, FrameType | None], None]

LATE = 0.1
"""Seconds after a deadline in which the alarm itself may come; it is more precise, and needs no thread."""
AGAIN = 0.5
"""Seconds until an interruption that had no effect is tried again."""


class Backstop:
    """The thread that watches the deadlines of the main thread. It starts with the first of them, and mostly sleeps."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[float, Fire]] = []
        self._next = float("inf")
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def enter(self, seconds: float, fire: Fire) -> int:
        """From now on `fire` is called on the main thread when the time is over; the last one entered counts.

        Returns what `leave` takes.
        """
        until = steady() + seconds + LATE
        depth = len(self._deadlines)
        self._deadlines.append((until, fire))
        if until < self._next:
            self._next = until
            if self._thread is None:
                _signal.signal(SIGNAL, self._fire)
                self._thread = threading.Thread(target=self._watch, name="perdure-backstop", daemon=True)
                self._thread.start()
            self._wake.set()
        return depth

    def leave(self, depth: int) -> None:
        """The code inside is over."""
        del self._deadlines[depth:]

    def _fire(self, signum: int, frame: FrameType | None) -> None:
        if self._deadlines and steady() >= self._deadlines[-1][0]:
            self._deadlines[-1][1](signum, frame)

    def _watch(self) -> None:
        while True:
            left = self._next - steady()
            self._wake.wait(min(max(left, 0.0), threading.TIMEOUT_MAX) if self._next < float("inf") else None)
            self._wake.clear()
            deadlines = self._deadlines[-1:]
            now = steady()
            if now < self._next < float("inf"):
                # The moment stays, whatever has ended meanwhile: steps in a row wake the thread once.
                self._next = min([self._next, *(until for until, _ in deadlines)])
                continue
            if not deadlines:
                self._next = float("inf")
                if self._deadlines:  # entered meanwhile
                    self._next = self._deadlines[-1][0]
            elif deadlines[0][0] > now:
                self._next = deadlines[0][0]
            else:
                self._next = now + AGAIN
                _signal.pthread_kill(MAIN, SIGNAL)


MAIN = threading.main_thread().ident
SIGNAL = getattr(_signal, "SIGRTMAX", 0) - 3 if hasattr(_signal, "SIGRTMAX") else getattr(_signal, "SIGURG", 0)
"""Of the real-time signals one that nothing else uses; where there are none, one that is ignored by default."""

_backstop = Backstop()


def backstop() -> Backstop:
    """That of this process."""
    return _backstop


def _renew() -> None:
    """A forked child has no thread of its parent's, and its main thread is the one that forked."""
    global MAIN, _backstop
    MAIN = threading.main_thread().ident
    _backstop = Backstop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
