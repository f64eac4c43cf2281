"""What has to follow when a dead letter was resolved: who sees the result, and the command by which others do."""

from __future__ import annotations

from shlex import quote

from perdure.core.records import CLEAN_UPS, RunRecord
from perdure.store import dead_letters
from perdure.store.runs import Store
from perdure.store.unseen_results import consumer, record_of


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
        run, seq = parent, record_of(store, parent, run)
    if run.parent is not None or seq is None or (seen and run.status not in ("done", "cancelled")):
        return f"run {_top(store, run).id} sees it when it is resumed: perdure resume {quote(_top(store, run).id)}"
    how = "has gone on since" if run.status not in ("done", "cancelled") else f"is {run.status}"
    step = consumer(store, run, seq)
    return (
        f"run {run.id} {how}, and what has consumed the items does not see the result: "
        f"perdure fork {quote(run.id)} --from {step} makes it again"
    )


def _top(store: Store, run: RunRecord) -> RunRecord:
    while run.parent is not None:
        run = store.run_by_number(run.parent)
    return run
