"""`perdure fork`: a new run with the records of another, up to a step."""

from __future__ import annotations

import os
import shlex

import msgspec

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.run_refusals import with_way_out
from perdure.core.records import RunRecord
from perdure.engines.features import Feature
from perdure.engines.interface import refuse_child
from perdure.engines.runtime import orphans
from perdure.engines.runtime.clock import RealWorld
from perdure.errors import StateCorrupt
from perdure.operations.find_step import find_step
from perdure.operations.location import Location, opened_for_change
from perdure.store.forks import Forked
from perdure.store.forks import fork as forking
from perdure.store.kept_runs import enqueued_again
from perdure.store.listing import holder_of
from perdure.store.unknown_calls import unknown_calls


class Made(msgspec.Struct, frozen=True):
    """A fork, and what it has taken over.

    Attributes:
        again: which runs of its source it enqueues again, in a line; None if there are none.
        unknown: which calls of its source were under way when a process died, in a line; None if there are none.
    """

    run: RunRecord
    forked: Forked
    again: str | None = None
    unknown: str | None = None


def fork(location: Location, run: RunRecord, step: str, now: float) -> Made:
    """A new run with the records of another, up to a step (that step is made again). It supersedes the other.

    Results of re-driven dead letters are among the records; letters that are parked still become the new run's.

    Args:
        location: the state file.
        run: the run to copy from.
        step: the name of a step (its first record counts) or "#" and the number of a record. The number behind the
            last one keeps all of them.
        now: seconds since the epoch.

    Raises:
        UsageError: it is a child run, or the location is a cluster.
        NotFound: there is no such step.
        AlreadyRunning: a process executes it, or re-drives a dead letter of it.
        RunError: it is unfinished, and was forked before.
        StateError: the file cannot be written.
    """
    refuse_child(run.id, run.parent)
    location.require(Feature.FORK, run=run.id, typed=shlex.quote(run.id))
    with opened_for_change(location) as store:
        new_id = f"{run.workflow}-{RealWorld().new_id()}"
        try:
            before = find_step(store, run, step, behind=True)
            holder = holder_of(store, run)
            forked: Forked = store.journal.write((), forking(store, run, new_id, before, now, child_id))
        except StateCorrupt as error:
            raise with_way_out(error, run.id) from error.__cause__
        if holder is not None and holder.host == os.uname().nodename:
            orphans.end_left(run.id, died=holder.pid)
        again = enqueued_again(store, run, before, location.option)
        made = store.run(new_id)
        return Made(made, forked, again, unknown_calls(store, made, made.status))
