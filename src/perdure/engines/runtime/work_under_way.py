"""What still works on a run when its function is over: the run is let go when that has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable


class WorkUnderWay:
    """Counts what is under way, on any thread."""

    __slots__ = ("_after", "_condition", "count")

    def __init__(self) -> None:
        self.count = 0
        self._condition = threading.Condition()
        self._after: list[Callable[[], None]] = []

    def take(self) -> None:
        """Something begins."""
        with self._condition:
            self.count += 1

    def drop(self) -> None:
        """It has ended."""
        with self._condition:
            self.count -= 1
            if self.count:
                return
            after, self._after = self._after, []
            self._condition.notify_all()
        for do in after:
            do()

    def wait(self) -> None:
        """Return when nothing is under way."""
        with self._condition:
            while self.count:
                self._condition.wait()

    def then(self, do: Callable[[], None]) -> None:
        """Do something as soon as nothing is under way: now, or on the thread that ends last."""
        with self._condition:
            if self.count:
                self._after.append(do)
                return
        do()
