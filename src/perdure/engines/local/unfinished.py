"""Says so, in one line, if a new run starts beside an unfinished one that may be meant."""

from __future__ import annotations

import os
import shlex

from perdure.config.script_identity import point_out
from perdure.core.execution.run import Start
from perdure.core.records import RunRecord
from perdure.store.runs import Store


def note_unfinished(store: Store, start: Start) -> None:
    """Point out an unfinished run of a script that was renamed or moved, or of other arguments; once for a workflow."""
    if (start.workflow, start.script) in store.noted:
        return
    runs = store.unfinished(start.workflow)
    if any(run.key == start.key and run.script == start.script for run in runs):
        return  # that is the one to be gone on with
    runs = [run for run in runs if run.status != "suspended"]  # which is as it should be
    store.noted.add((start.workflow, start.script))
    for run in runs:
        line = _line(run, start)
        if line is not None and store.holding(run) is None:
            point_out(line)
            return


def _line(run: RunRecord, start: Start) -> str | None:
    file = os.path.relpath(start.path) if os.path.isfile(start.path) else start.path
    what = f"run {run.id} of workflow {run.workflow!r} is unfinished"
    way_on = f"go on with it: perdure resume {shlex.quote(run.id)} {shlex.quote(file)}"
    if run.script == start.script:
        return f"{what}, with other arguments; {way_on}"
    if run.key != start.key:
        return None
    if not os.path.exists(run.path):
        return f"{what}, of {run.path}, which is gone; if that is this script, {way_on}"
    if os.path.basename(run.path) == os.path.basename(start.path):
        return f"{what}, of another script, {run.path}; if that was copied here, {way_on}"
    return None
