"""The end of a run makes ready who waits for it, in the transaction that ends it, whatever that is.

Who waits for a run waits for its newest fork, too, which stands for it.
"""

from __future__ import annotations

from typing import Any, Protocol

import apsw

from perdure.core.records import RunRecord
from perdure.store.rows import GONE_ON_WITH
from perdure.store.statements import load

_SQL = load("awaited_ends.sql")


class Runs(Protocol):
    """The runs of a state file, in a transaction."""

    def run_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run of that number."""

    def root_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run that the one of that number is a child of, however deep."""

    def put_run(self, connection: apsw.Connection, run: RunRecord, **changed: Any) -> RunRecord:
        """Change a run."""


def run_ends(store: Runs, connection: apsw.Connection, run: RunRecord) -> bool:
    """A run has ended: it waits for nothing any more, unless it may be gone on with, and who waits for it is ready.

    Returns:
        Does anybody wait for it?
    """
    awaiting: list[Any] = []
    for rid in _line(store, connection, run):
        if connection.execute(_SQL["has_waits"], (rid,)).fetchone() is not None:
            awaiting += connection.execute(_SQL["awaiting"], (rid,)).fetchall()
            if rid == run.rid and run.status not in GONE_ON_WITH:
                connection.execute(_SQL["drop_of_run"], (rid,))
    now = run.started if run.ended is None else run.ended
    for (waiting,) in awaiting:
        root = store.root_in(connection, waiting)
        if root.status == "suspended" and (root.wake is None or root.wake > now):
            store.put_run(connection, root, wake=now)
    return bool(awaiting)


def _line(store: Runs, connection: apsw.Connection, run: RunRecord) -> list[int]:
    """The numbers of the run and of what it is a fork of."""
    line = [run.rid]
    while run.forked_from is not None:
        run = store.run_in(connection, run.forked_from)
        line.append(run.rid)
    return line
