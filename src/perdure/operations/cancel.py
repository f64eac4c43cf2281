"""`perdure cancel`: a run is asked to end, or ended if no process executes it."""

from __future__ import annotations

import os
from pathlib import Path

from perdure.core.execution.spec import spec_of
from perdure.core.records import RunRecord
from perdure.engines.interface import Cancellation
from perdure.operations.location import Location
from perdure.operations.scripts import workflow_of

__all__ = ["Cancellation", "cancel"]


def cancel(location: Location, run: str, script: Path | None = None) -> Cancellation:
    """Ask a run to end.

    What executes it does so at the next safe point: before an attempt, or in a wait. If no process executes it, its
    clean-ups are made here, with the steps of its script.

    Args:
        location: the state file, or the cluster.
        run: the id of the run.
        script: where the script is, if it is not where it was.

    Raises:
        NotFound: there is no such run.
        UsageError: it is a child run.
        RunError: it is superseded by its fork.
        StateError: the state file cannot be used.
        EngineError: the cluster cannot be reached.
    """

    def load(record: RunRecord) -> str:
        return os.path.abspath(spec_of(workflow_of(record, location, script)).file)

    return location.load_engine().cancel(run, load)
