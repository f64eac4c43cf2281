"""`perdure cancel`: a run is told to end, or ended if nobody executes it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from perdure.core.records import RunStatus
from perdure.engines.local import engine_at
from perdure.engines.selection import cluster_at
from perdure.errors import PerdureError
from perdure.operations.location import Place
from perdure.operations.resume import refuse_child, workflow_of
from perdure.store.runs import Store


class Cancelling(msgspec.Struct, frozen=True):
    """What came of it: how the run stood, and which process was told to end it (none: it has been ended).

    `missed` says what could not be cleaned up, a line each.
    """

    run: str
    was: RunStatus
    pid: int | None = None
    missed: list[str] = []


def cancel(place: Place, run: str, script: Path | None = None) -> Cancelling:
    """Tell a run to end.

    Whoever executes it does so at the next safe point: before an attempt, or in a wait. If nobody does, its clean-ups
    are made here, with the steps of its script.

    Args:
        place: the state file, or the cluster.
        run: the id of the run.
        script: where the script is, if it is not where it was.

    Raises:
        NotFound: there is no such run.
        UsageError: it is a child run.
        StateError: the state file cannot be used.
        EngineError: the cluster cannot be reached.
    """
    if place.engine != "local":
        return Cancelling(run, cluster_at(place.engine).cancel(run))
    store = Store(place.path)
    try:
        record = store.run(run)
        refuse_child(record)
        found, by = store.ask_to_stop(run, time.time())
    finally:
        store.close()
    if by is not None or found.status in ("done", "cancelled"):
        return Cancelling(run, found.status, by.pid if by is not None else None)
    missed: list[str] = []
    try:
        workflow_of(found, script)  # its steps are known then
    except Exception as error:  # noqa: BLE001  a script that is gone or broken must not keep a run from being cancelled
        missed.append(f"its script could not be loaded: {error.what if isinstance(error, PerdureError) else error!r}")
    unclean = engine_at(place.path).call_off(found)
    if unclean is None:
        return cancel(place, run, script)  # somebody was faster
    return Cancelling(run, found.status, None, [*missed, *unclean] if unclean else [])
