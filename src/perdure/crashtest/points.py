"""The points of a life at which it may be killed: around each commit, after each effect, between changes of files."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from perdure.core import records

PointKind = Literal["before-save", "after-save", "effect", "change", "cut"]

OF_STEPS = ("step", *records.CLEAN_UPS)
"""The kinds of records that steps leave; those of clean-ups are called `undo:STEP` and `defer:STEP`."""

RUN = ""
"""The name that stands for what a run itself writes: its beginning, attempts that failed, its end."""


class Point(msgspec.Struct, frozen=True):
    """A place in a life.

    Attributes:
        kind: before or after a commit; after an effect; before a file is changed, or the changes of a database are
            committed ("change"); when a file is opened to be written anew, and nothing is in it ("cut").
        step: whose record or effect it is; empty for those of the run itself.
        nth: how often that pair came before, and this one.
    """

    kind: PointKind
    step: str
    nth: int


class Points:
    """Counts the points that are reached, and lets the process die at one of them.

    Args:
        kill: where; None: nowhere.
        note: is given each point before anything else happens there.
        die: what dying is.
    """

    def __init__(
        self, kill: Point | None, note: Callable[[Point], None], die: Callable[[], None] | None = None
    ) -> None:
        self._kill = kill
        self._note = note
        self._die = die or _killed
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def reached(self, kind: PointKind, step: str, last: Callable[[], None] = lambda: None) -> None:
        """A point is reached; `last` is what the process does yet if it dies there."""
        with self._lock:
            self._counts[kind, step] += 1
            point = Point(kind, step, self._counts[kind, step])
            self._note(point)
            if point == self._kill:
                last()
                self._die()

    def commit(self, batch: Sequence[Any], done: bool) -> None:
        """What a journal calls before and after each commit (see store/group_commit.py)."""
        names = [row[records.NAME] for entry in batch for row in entry.rows if row[records.KIND] in OF_STEPS]
        for name in names or [RUN]:
            self.reached("after-save" if done else "before-save", name)


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
