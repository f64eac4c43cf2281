"""What has to follow when a dead letter was resolved: who sees the result, and the command by which others do."""

from __future__ import annotations

from shlex import quote

from perdure.core.execution.idempotency import child_id
from perdure.core.records import CLEAN_UPS, RunRecord
from perdure.store import dead_letters
from perdure.store.forks import origin
from perdure.store.runs import Store


def follows(store: Store, lid: int, *, seen: bool) -> str | None:
    """One line about what has to follow; None if nothing has to.

    Args:
        store: the state file.
        lid: the number of a letter that was resolved.
        seen: its run will see the result.
    """
    letter = dead_letters.get(store, lid)
    run = store.run_by_number(letter.run)
    seq: int | None = letter.seq
    if not letter.seq or store.record(run.rid, letter.seq).kind in CLEAN_UPS:
        return None  # the run has ended with that, or nothing consumes it
    while run.parent is not None and seq is not None:
        parent = store.run_by_number(run.parent)
        run, seq = parent, _record_of(store, parent, run)
    if run.parent is not None or seq is None or (seen and run.status not in ("done", "cancelled")):
        return f"run {_top(store, run).id} sees it when it is resumed: perdure resume {quote(_top(store, run).id)}"
    how = "has gone on since" if run.status not in ("done", "cancelled") else f"is {run.status}"
    step = _consumer(store, run, seq)
    return (
        f"run {run.id} {how}, and what has consumed the items does not see the result: "
        f"perdure fork {quote(run.id)} --from {step} makes it again"
    )


def _top(store: Store, run: RunRecord) -> RunRecord:
    while run.parent is not None:
        run = store.run_by_number(run.parent)
    return run


def _record_of(store: Store, parent: RunRecord, child: RunRecord) -> int | None:
    """The number of the record that a run has of its child; None if the child has not come to an end."""
    for seq, name, key, n, _, kind in store.index(parent.rid):
        if kind == "step" and child.id == child_id(origin(store, parent, seq).id, name, key, n):
            return seq
    return None


def _consumer(store: Store, run: RunRecord, seq: int) -> str:
    """The step that came first after that record's, as `fork --from` takes it."""
    index = [(at, name) for at, name, _, _, _, kind in store.index(run.rid) if kind == "step"]
    (own,) = (name for at, name in index if at == seq)
    for at, name in index:
        if at > seq and name != own:
            first = min(one for one, known in index if known == name)
            return name if first == at and name.isidentifier() else f'"#{at}"'
    return f'"#{store.index(run.rid)[-1][0] + 1}"'
