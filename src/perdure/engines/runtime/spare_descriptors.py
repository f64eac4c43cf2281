"""Descriptors that are kept back for a process whose own are used up.

A step that leaves files or sockets open until the system gives it no more fails with its own error. What saves that
error opens files itself: modules that are loaded at the first failure, files beside the state file, pipes. So some are
kept open, and closed when there are no others.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from functools import cache

KEPT = 16
"""Descriptors that are kept back at most: a quarter of those that are free."""
LEAST = 2
"""Descriptors that are kept back of however few: they say that there are no more."""
ROOM = 4
"""So many have to be free when a failure is judged."""


class SpareFiles:
    """The descriptors that are kept back by one process."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._lock = threading.Lock()
        self._keep()

    def make_room(self) -> None:
        """A step or a workflow has failed: if the process has no descriptors left, those that were kept are closed."""
        with self._lock:
            found = _open(ROOM)
            _close(found)
            if len(found) < ROOM:
                _close(self._kept)
                self._kept = []
            elif not self._kept:
                self._keep()

    def close(self) -> None:
        """Give them back."""
        with self._lock:
            _close(self._kept)
            self._kept = []

    def close_in_child(self) -> None:
        """The same after a fork."""
        self._lock = threading.Lock()
        self.close()

    def _keep(self) -> None:
        """Keep some back, and leave the most."""
        found = _open(KEPT + ROOM)
        kept = min(KEPT, max(LEAST, (len(found) + _above(found)) // 4))
        self._kept = found[:kept]
        _close(found[kept:])


def _above(found: list[int]) -> int:
    """How many more there would be, if no higher number is taken: the lowest that are free are given first."""
    if len(found) < KEPT + ROOM or not hasattr(os, "sysconf"):
        return 0
    try:
        most = os.sysconf("SC_OPEN_MAX")
    except (OSError, ValueError):
        return 0
    return max(most - 1 - max(found), 0) if most > 0 else 4 * KEPT  # without a bound


def _open(most: int) -> list[int]:
    found: list[int] = []
    try:
        while len(found) < most:
            found.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            _close(found)
            return []
    return found


def _close(descriptors: list[int]) -> None:
    for one in descriptors:
        # A program may have closed all descriptors that it does not know, and have others under their numbers now.
        with suppress(OSError):
            if os.fstat(one).st_rdev == _null():
                os.close(one)


@cache
def _null() -> int:
    return os.stat(os.devnull).st_rdev
