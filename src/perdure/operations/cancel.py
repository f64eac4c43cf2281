"""`perdure cancel`: a run is asked to end, or ended if no process executes it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from perdure.core.execution.spec import spec_of
from perdure.core.records import RunRecord
from perdure.engines.interface import Cancellation
from perdure.operations.location import Location, opened_for_change
from perdure.operations.scripts import workflow_of
from perdure.store.damaged_run import take_out

__all__ = ["Cancellation", "cancel"]


def cancel(location: Location, run: str, script: Path | None = None, *, skip_damaged: bool = False) -> Cancellation:
    """Ask a run to end.

    What executes it does so at the next safe point: before an attempt, or in a wait. If no process executes it, its
    clean-ups are made here, with the steps of its script.

    Args:
        location: the state file, or the cluster.
        run: the id of the run.
        script: where the script is, if it is not where it was.
        skip_damaged: end it also if something of it is damaged: that is taken out of its way, and named.

    Raises:
        NotFound: there is no such run.
        UsageError: it is a child run.
        RunError: it is superseded by its fork.
        AlreadyRunning: with `skip_damaged`, a process executes it.
        StateError: the state file cannot be used.
        EngineError: the cluster cannot be reached.
    """

    def load(record: RunRecord) -> str:
        return os.path.abspath(spec_of(workflow_of(record, location, script)).file)

    return end(location, run, load, skip_damaged=skip_damaged)


def end(location: Location, run: str, load: Callable[[RunRecord], str | None], *, skip_damaged: bool) -> Cancellation:
    """The same, with what loads the script of a run, as `Engine.cancel` takes it."""
    damaged = _take_out_damage(location, run) if skip_damaged else ""
    found = location.load_engine().cancel(run, load)
    return msgspec.structs.replace(found, missed=[damaged, *found.missed]) if damaged else found


def _take_out_damage(location: Location, run: str) -> str:
    with opened_for_change(location) as store:
        line: str = store.journal.write((), take_out(store, run, time.time()))
        return line
