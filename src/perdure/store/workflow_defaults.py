"""The defaults of workflows by which their runs are found: those that were seen first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from perdure.core.execution.defaults import pack_defaults, unpack_defaults
from perdure.store.group_commit import Journal
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.statements import load

_SQL = load("workflow_defaults.sql")


def known(journal: Journal, path: Path, script: str, workflow: str) -> dict[str, bytes]:
    """A digest of each default, by its parameter; empty if none were seen.

    Raises:
        StateCorrupt: the row is not as it was written.
    """

    def question(connection: apsw.Connection) -> dict[str, bytes]:
        row: Any = connection.execute(_SQL["get"], (script, workflow)).fetchone()
        if row is not None and not sound(row):
            raise corrupt(path)
        return {} if row is None else unpack_defaults(row[2])

    found: dict[str, bytes] = journal.read(question)
    return found


def keep(connection: apsw.Connection, script: str, workflow: str, defaults: dict[str, bytes]) -> None:
    """Keep the defaults of a workflow."""
    connection.execute(_SQL["put"], sealed(script, workflow, pack_defaults(defaults)))
