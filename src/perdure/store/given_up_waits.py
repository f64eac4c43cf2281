"""The open waits that workflows of this process have given up, as they stood.

A task group that fails gives up what its other branches wait for. If that failure ends the run, the waits are not over:
they are put back with their beginnings, for the life that goes on with the run.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import apsw

from perdure.core.execution.spec import Call
from perdure.store.statements import load

_SQL = load("waits.sql")

MOST = 1_000
"""Waits of a run that are remembered, the last ones. A failure gives up what is open at that moment, and no more."""


class GivenUpWaits:
    """What was given up, by the number of the run."""

    def __init__(self) -> None:
        self._of: defaultdict[int, deque[tuple[Call, Sequence[Any]]]] = defaultdict(lambda: deque(maxlen=MOST))

    def add(self, rid: int, call: Call, rows: Sequence[Any]) -> None:
        """The workflow has given up the wait with these rows; the call has a number as soon as that is history."""
        self._of[rid].append((call, rows))

    def restore(self, connection: apsw.Connection, rid: int, aftermath: tuple[int, int]) -> None:
        """Open again those that were given up after the failure that ends the run: numbers `aftermath`, inclusive."""
        first, last = aftermath
        for call, rows in self._of.get(rid, ()):
            if first <= call.seq <= last:
                connection.executemany(_SQL["add"], rows)

    def forget(self, rid: int) -> None:
        """This process executes the run no more."""
        self._of.pop(rid, None)
