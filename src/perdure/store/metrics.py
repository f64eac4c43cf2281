"""Numbers about a state file for a monitoring system: counted by SQLite, without the id of any run."""

from __future__ import annotations

from typing import Any

from perdure.store.damaged_rows import rows_of
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("metrics.sql")


def runs(store: Store) -> dict[tuple[str, str], int]:
    """How many runs there are, without child runs and superseded ones, by workflow and status."""
    return {(workflow, status): count for workflow, status, count in _all(store, "runs")}


def oldest(store: Store) -> dict[str, float]:
    """When the oldest run that has not ended was made, by workflow, in seconds since the epoch."""
    return dict(_all(store, "oldest"))


def last_success(store: Store, workflow: str) -> float | None:
    """When the last of the 32 newest runs of a workflow that are done ended, in seconds since the epoch."""
    ((ended,),) = _all(store, "last_success", workflow)
    return None if ended is None else float(ended)


def letters(store: Store) -> list[tuple[str, str, str, int]]:
    """How many dead letters are parked, by workflow, step (empty: the whole run) and class of the error."""
    return _all(store, "letters")


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: rows_of(connection, _SQL[query], values))
    return rows
