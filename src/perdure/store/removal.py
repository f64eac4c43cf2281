"""What is left beside a state file when runs are gone from it."""

from __future__ import annotations

import time

import apsw

from perdure.store import artifacts
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("pieces.sql")

GRACE = 3600.0
"""Seconds that a file stays after it was written: the row that names it may not be committed yet."""


def remove_unused_artifacts(store: Store, *, grace: float = GRACE) -> list[str]:
    """Remove the files of large data that no run uses any more, and what killed writers have left.

    To be called by whatever has removed runs (`pieces.release` in the transaction that does), after its commit.

    Args:
        store: opened for writing.
        grace: seconds that files stay after they were written, or were kept once more by another run.

    Returns:
        The names of the files that were removed.

    Raises:
        StateError: the state file cannot be read.
        OSError: a file cannot be removed.
    """

    def is_used(digest: str) -> bool:
        def question(connection: apsw.Connection) -> bool:
            return connection.execute(_SQL["artifact_used"], (digest,)).fetchone() is not None

        found: bool = store.journal.read(question)
        return found

    return artifacts.sweep(artifacts.folder_of(store.path), is_used, time.time() - grace)
