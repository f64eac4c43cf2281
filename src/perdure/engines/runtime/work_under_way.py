"""What still works on a run when its function is over: the run is let go when that has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable


class WorkUnderWay:
    """What is under way, on any thread.

    Attributes:
        held: what that is. It is known by itself and not counted, so that who is interrupted as it begins says that it
            has ended, without knowing whether it had begun.
    """

    __slots__ = ("_after", "_lock", "held")

    def __init__(self) -> None:
        self.held: set[object] = set()
        self._lock = threading.RLock()
        self._after: list[Callable[[], None]] = []

    def take(self, what: object) -> None:
        """Something begins."""
        with self._lock:
            self.held.add(what)

    def drop(self, what: object) -> None:
        """It has ended, or has never begun."""
        with self._lock:
            self.held.discard(what)
            if self.held:
                return
            after, self._after = self._after, []
        for do in after:
            do()

    def wait(self) -> None:
        """Return when nothing is under way."""
        while self.held:
            over = threading.Event()
            self.then(over.set)
            over.wait()

    def then(self, do: Callable[[], None]) -> None:
        """Do something as soon as nothing is under way: now, or on the thread that ends last."""
        with self._lock:
            if self.held:
                self._after.append(do)
                return
        do()
