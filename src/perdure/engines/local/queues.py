"""What scripts declare of queues, written into a state file when it is first of use there."""

from __future__ import annotations

from perdure.core.durations import show
from perdure.engines import declared_queues
from perdure.store import queue
from perdure.store.runs import Store

_written: dict[tuple[str, str], declared_queues.Declared] = {}
"""By state file and queue: what this process has written there."""


def declare_queues(store: Store, now: float) -> None:
    """Write what the scripts of this process say of queues, if the file says otherwise; a change is logged.

    Raises:
        StateError: it cannot be written.
    """
    if not declared_queues.queues:
        return
    place = str(store.path)
    new = [each for each in declared_queues.queues.values() if _written.get((place, each.name)) != each]
    if not new:
        return
    import logging

    from perdure.store import queue_listing  # a script that declares no queue does without it

    rows = [queue.QueueRow(each.name, each.concurrency, each.per_key, each.rate, each.seconds) for each in new]
    files = {each.name: each.file for each in new}
    for before, after in queue_listing.declare(store, rows, now):
        if before is not None and before.declared:
            logging.getLogger("perdure").warning(
                "queue %r is now %s, as %s says; it was %s",
                after.name,
                limits(after),
                files[after.name],
                limits(before),
            )
    _written.update({(place, each.name): each for each in new})


def limits(row: queue.QueueRow) -> str:
    """The limits of a queue, for the eye."""
    rate = None if row.rate is None or row.seconds is None else f"{row.rate} in {show(row.seconds)}"
    named = {"concurrency": row.concurrency, "per_key": row.per_key, "rate": rate}
    return ", ".join(f"{name} {value}" for name, value in named.items() if value is not None) or "without limits"
