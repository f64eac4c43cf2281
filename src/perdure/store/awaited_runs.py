"""Runs whose end others wait for, which stand in a queue and which no worker executes: that end does not come."""

from __future__ import annotations

from collections.abc import Iterable

from perdure.core.records import RunRecord
from perdure.errors import NotFound
from perdure.store import waits, workers
from perdure.store.queue import AFTER_OTHERS
from perdure.store.runs import Store

MOST = 100
"""Runs that are looked at."""


def unserved(store: Store, ids: Iterable[str]) -> list[RunRecord]:
    """Those of the runs, and of the runs that these wait for in turn, that only a worker executes, while none does.

    Args:
        store: the state file.
        ids: of the runs that are waited for.

    Raises:
        StateError: the file cannot be read.
    """
    rest = list(dict.fromkeys(ids))
    found: list[RunRecord] = []
    living: list[workers.Worker] | None = None
    for id in rest:  # grows
        try:
            run = store.newest(store.run(id))
        except NotFound:  # it is removed; who waits for it is told otherwise
            continue
        if run.status == "suspended":
            further = (one.run for one in waits.standing_of(store, run.rid) if one.run is not None)
            rest += [each for each in dict.fromkeys(further) if each not in rest][: MOST - len(rest)]
        elif run.status == "queued" and run.hold in (None, AFTER_OTHERS):
            living = workers.living(store.path) if living is None else living
            if not any(one.serves(run.script, run.workflow, run.queue) for one in living):
                found.append(run)
    return found
