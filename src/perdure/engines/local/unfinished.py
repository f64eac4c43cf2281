"""Says so, in one line, if a new run starts beside an unfinished one that may be meant."""

from __future__ import annotations

import os
import shlex

from perdure.config.script_identity import point_out
from perdure.core.execution.run import Start
from perdure.core.records import RunRecord
from perdure.engines.registry import is_known
from perdure.store.runs import Store


def note_unfinished(store: Store, start: Start) -> None:
    """Point out an unfinished run that may be meant; once for a workflow.

    It is of a script that was renamed or moved, of other arguments, or of a workflow that the script has no more.
    """
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
    for run in store.unfinished_of_others(start.workflow, start.key, start.script):
        if not is_known(run.workflow, "workflow") and store.holding(run) is None:
            point_out(_renamed(run, start))
            return


def _renamed(run: RunRecord, start: Start) -> str:
    quoted = repr(run.workflow) if '"' in run.workflow else f'"{run.workflow}"'
    return (
        f"run {run.id} of workflow {run.workflow!r} is unfinished, and the script has no {run.workflow!r} any more; if "
        f"{start.workflow!r} is that one, let it keep its name: @workflow(name={quoted})"
    )


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
