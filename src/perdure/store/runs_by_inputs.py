"""Runs whose inputs are looked at, since their keys do not find them."""

from __future__ import annotations

from perdure.core.records import RunRecord
from perdure.store.rows import checked
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("runs_by_inputs.sql")


def after(store: Store, rid: int, workflow: str, script: str) -> list[RunRecord]:
    """The runs of a workflow of a script that go by their inputs, after that row number, in order.

    Raises:
        StateCorrupt: one of them is not as it was written.
    """
    return _all(store, "after", rid, workflow, script)


def children(store: Store, rid: int, workflow: str) -> list[RunRecord]:
    """The child runs of a run that are of that workflow, in order.

    Raises:
        StateCorrupt: one of them is not as it was written.
    """
    return _all(store, "children", rid, workflow)


def once_elsewhere(store: Store, workflow: str, script: str, key: bytes) -> list[RunRecord]:
    """Runs of that name and these inputs, which are run once, of other scripts; none if this script has one."""
    return _all(store, "once_elsewhere", workflow, script, key)


def of_dedup_elsewhere(store: Store, workflow: str, script: str, dedup: str) -> list[RunRecord]:
    """Unfinished runs of that name and dedup key, of other scripts; none if this script has one."""
    return _all(store, "of_dedup_elsewhere", workflow, script, dedup)


def _all(store: Store, query: str, *values: int | str | bytes) -> list[RunRecord]:
    rows = store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchall())
    return [checked(RunRecord, row, store.path) for row in rows]
