"""`perdure resume`: goes back to a run: what it came to, and what it needs to go on."""

from __future__ import annotations

from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.operations.location import Location, opened
from perdure.operations.run import LONGEST, Finish
from perdure.store import listing


def finished(location: Location, run: RunRecord) -> Finish:
    """How a run that was done before has ended; its script is not needed for that."""
    output = run.output or b""
    result = codec.to_builtins(output)
    shown = None if result is None else codec.describe(output, limit=LONGEST)
    with opened(location, run.id) as store:
        dead = listing.dead_letters(store, store.run(run.id).rid)
    return Finish(run.id, run.workflow, result, shown, dead)


def accept_changes(location: Location, run: RunRecord) -> None:
    """Do not hold what the run has done against the edited script; nothing if a process executes it at this moment."""
    location.load_engine().accept_changes(run)
