"""Results of re-driven dead letters that a run has not seen, since it had gone on when the letter was resolved."""

from __future__ import annotations

from shlex import quote
from typing import Any

import msgspec

from perdure.core.execution.idempotency import child_id
from perdure.core.records import RunRecord
from perdure.store.lineage import origin
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("unseen_results.sql")


class Unseen(msgspec.Struct, frozen=True):
    """How many results a run has not seen, its child runs included, and the command by which they are."""

    count: int
    command: str

    @property
    def results(self) -> str:
        """How many, as people say it."""
        return "the result of 1 re-driven dead letter" if self.count == 1 else f"{self.count:,} re-driven results"


def unseen(store: Store, run: RunRecord) -> Unseen | None:
    """The results that a run has not seen; None if it has seen all, or a fork of it does.

    Args:
        store: the state file.
        run: one that is no child run, for the command to be one that can be carried out.
    """
    found = unseen_records(store, run)
    return Unseen(len(found), fork_of(store, run, found)) if found else None


def unseen_records(store: Store, run: RunRecord) -> list[int]:
    """The numbers of the records of a run, for each such result, that a fork has to take over."""
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL["unseen"], (run.rid,)).fetchall())
    if not rows or run.superseded_by is not None:
        return []
    steps = [_record_in(store, run, *row) for row in rows]
    return [seq for seq in steps if seq is not None]  # the run has gone on without the others: it calls them anew


def fork_of(store: Store, run: RunRecord, records: list[int]) -> str:
    """The fork that sees the results of all these records: from behind the last one.

    A fork from before it would make again what was just re-driven. What has consumed an earlier one is made again there
    as well, since its inputs are others.
    """
    return f"perdure fork {quote(run.id)} --from {consumer(store, run, max(records))}"


def _record_in(store: Store, top: RunRecord, rid: int, seq: int) -> int | None:
    """The number of the record by which a run has what came of a record of its child run, or of one of that one's."""
    run, at = store.run_by_number(rid), seq
    for parent in store.parents(run):
        if run.rid == top.rid:
            break
        found = record_of(store, parent, run)
        if found is None:
            return None
        run, at = parent, found
    return at


def record_of(store: Store, parent: RunRecord, child: RunRecord) -> int | None:
    """The number of the record that a run has of its child; None if the child has not come to an end."""
    for seq, name, key, n, _, kind in store.index(parent.rid):
        if kind == "step" and child.id == child_id(origin(store, parent, seq).id, name, key, n):
            return seq
    return None


def consumer(store: Store, run: RunRecord, seq: int) -> str:
    """The step that came first after that record's, as `fork --from` takes it."""
    index = [(at, name) for at, name, _, _, _, kind in store.index(run.rid) if kind == "step"]
    (own,) = (name for at, name in index if at == seq)
    for at, name in index:
        if at > seq and name != own:
            first = min(one for one, known in index if known == name)
            return name if first == at and name.isidentifier() else f'"#{at}"'
    return f'"#{store.index(run.rid)[-1][0] + 1}"'
