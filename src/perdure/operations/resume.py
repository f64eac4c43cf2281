"""Goes back to a run: what it came to, what it needs to go on, and a copy of it up to some step."""

from __future__ import annotations

import shlex
from pathlib import Path

from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.engines.local import engine_at
from perdure.engines.selection import cluster_at
from perdure.errors import NotFound, UsageError
from perdure.operations.find_step import find_step
from perdure.operations.location import Place, opened
from perdure.operations.run import LONGEST, Finish
from perdure.operations.scripts import AnyWorkflow, find_workflow, recorded_script
from perdure.store import listing


def finished(place: Place, run: RunRecord) -> Finish:
    """How a run that was done before has ended; its script is not needed for that."""
    output = run.output or b""
    result = codec.to_builtins(output)
    shown = None if result is None else codec.describe(output, limit=LONGEST)
    with opened(place, run.id) as store:
        dead = listing.dead_letters(store, store.run(run.id).rid)
    return Finish(run.id, run.workflow, result, shown, dead)


def workflow_of(run: RunRecord, script: Path | None = None) -> AnyWorkflow:
    """The workflow that a run belongs to, loaded from its script.

    Args:
        run: which.
        script: where the script is now, if not where it was last seen.

    Raises:
        UsageError: it is a child run.
        NotFound: the script, or the workflow in it, is gone.
        Exception: whatever the script raises when it is loaded.
    """
    refuse_child(run)
    path = script or recorded_script(run)
    if not path.is_file():
        raise NotFound(
            f"the script of run {run.id} is gone: {path}",
            f"name where it is now: perdure resume {shlex.quote(run.id)} FILE",
        )
    return find_workflow(path, run.workflow)


def accept_changes(place: Place, run: RunRecord) -> None:
    """Do not hold what the run has done against the edited script; nothing if somebody runs it at this moment."""
    if place.engine != "local":
        cluster_at(place.engine).accept(run.id)
        return
    store = engine_at(place.path).store
    if store.holding(run) is None:
        store.accept(run.rid)


def fork(place: Place, run: RunRecord, step: str, now: float) -> RunRecord:
    """A new run with the records of another, up to a step (that step is made again).

    Args:
        place: the state file.
        run: the run to copy from; it stays as it is.
        step: the name of a step (its first record counts) or "#" and the number of a record.
        now: seconds since the epoch.

    Raises:
        UsageError: it is a child run.
        NotFound: there is no such step.
        StateError: the file cannot be written.
    """
    refuse_child(run)
    if place.engine != "local":
        command = f"perdure resume {shlex.quote(run.id)} --accept-changes"
        raise UsageError(
            "fork works on a state file only, not on a cluster so far",
            f"to keep what run {run.id} has and make the rest anew: {command}",
        )
    engine = engine_at(place.path)
    before = find_step(engine.store, run, step)
    new_id = f"{run.workflow}-{engine.world.new_id()}"
    engine.store.journal.write((), engine.store.fork(run, new_id, before, now))
    return engine.store.run(new_id)


def refuse_child(run: RunRecord) -> None:
    """Go on only with a run that stands for itself.

    Raises:
        UsageError: it is a child run.
    """
    if run.parent is not None:
        raise UsageError(
            f"run {run.id} is a child run, which goes on when its parent does", "name the run that it belongs to"
        )
