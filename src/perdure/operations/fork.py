"""`perdure fork`: a new run with the records of another, up to a step."""

from __future__ import annotations

import shlex

from perdure.core.records import RunRecord
from perdure.engines.features import Feature
from perdure.engines.interface import refuse_child
from perdure.engines.runtime.clock import RealWorld
from perdure.operations.find_step import find_step
from perdure.operations.location import Location, opened_for_change


def fork(location: Location, run: RunRecord, step: str, now: float) -> RunRecord:
    """A new run with the records of another, up to a step (that step is made again).

    Args:
        location: the state file.
        run: the run to copy from; it stays as it is.
        step: the name of a step (its first record counts) or "#" and the number of a record.
        now: seconds since the epoch.

    Raises:
        UsageError: it is a child run, or the location is a cluster.
        NotFound: there is no such step.
        StateError: the file cannot be written.
    """
    refuse_child(run.id, run.parent)
    location.require(Feature.FORK, run=run.id, typed=shlex.quote(run.id))
    with opened_for_change(location) as store:
        before = find_step(store, run, step)
        new_id = f"{run.workflow}-{RealWorld().new_id()}"
        store.journal.write((), store.fork(run, new_id, before, now))
        return store.run(new_id)
