"""The outside witness: reads a peer's state file after its process has ended, and counts what is really in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

_FILES = {
    "floor": "floor.db",
    "perdure": "state.db",
    "dbos": "dbos.sqlite",
    "dbos-full": "dbos.sqlite",
    "stitch": "stitch.db",
    "huey": "huey.db",
}
_DBOS_STEPS = """
    SELECT (SELECT count(*) FROM operation_outputs WHERE function_name LIKE '%work' AND error IS NULL)
         + (SELECT count(*) FROM operation_outputs WHERE function_name LIKE '%work_async' AND error IS NULL)
         + (SELECT count(*) FROM workflow_status WHERE name LIKE '%map_item' AND status = 'SUCCESS')
"""
_STEPS = {
    "floor": "SELECT count(*) FROM step WHERE name = 'work'",
    "perdure": "SELECT count(*) FROM step WHERE status = 'done' AND (name LIKE '%work' OR name LIKE '%work_async')",
    "dbos": _DBOS_STEPS,
    "dbos-full": _DBOS_STEPS,
    "stitch": "SELECT count(*) FROM steps WHERE status = 'done'",
    "huey": "SELECT count(*) FROM kv WHERE queue = 'bench'",
}
_PAYLOAD = (
    "SELECT avg(length(name) + length(key) + length(status) + length(input) + length(output)) FROM step"
    " WHERE name LIKE '%work'"
)


def state_file(peer: str, state: Path) -> Path:
    """Where a peer keeps its rows."""
    return state / _FILES[peer]


def completed_steps(peer: str, state: Path) -> int:
    """How many steps (of the measured ones, not the warm-up's) are on disk as completed."""
    count: int = _ask(peer, state, _STEPS[peer])
    return count


def payload_bytes(peer: str, state: Path) -> float:
    """The bytes of text and blobs in an average step row of the floor or of perdure: they are to be alike."""
    return float(_ask(peer, state, _PAYLOAD) or 0)


def journal_mode(peer: str, state: Path) -> str:
    """The journal mode that the file itself asks for."""
    return str(_ask(peer, state, "PRAGMA journal_mode"))


def truncated_size(peer: str, state: Path) -> int:
    """The bytes of all files in the state folder once the journal has been written back and truncated."""
    with closing(sqlite3.connect(state_file(peer, state))) as connection:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise RuntimeError(f"somebody still uses the state file of {peer}")
    return sum(path.stat().st_size for path in state.rglob("*") if path.is_file() and not path.name.endswith("-shm"))


def _ask(peer: str, state: Path, question: str) -> Any:
    path = state_file(peer, state)
    if not path.exists():
        raise RuntimeError(f"{peer} left no state file")
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchone()[0]
