"""Says so, in one line, if a new run starts beside one that may be meant: unfinished, or run once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from perdure.config.script_folder import script_folder
from perdure.config.script_identity import point_out
from perdure.core.execution.run_effects import Start
from perdure.core.records import RunRecord
from perdure.engines.functions import is_same_file
from perdure.engines.registry import every, is_known
from perdure.errors import NotFound
from perdure.store import code
from perdure.store.runs import Store

MOST_FOLDERS = 4
"""Folders above that of a script in which state is looked for."""


def note_unfinished(store: Store, start: Start) -> None:
    """Point out an unfinished run that may be meant; once for a workflow.

    It is of a script that was renamed or moved, of other arguments, of a workflow that the script has no more, or of
    one that was moved here from another file.
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
    if not runs:
        _note_moved(store, start)


def note_run_once(store: Store, start: Start, dedup: str | None = None) -> None:
    """Point out a run that would stand for this one, were the workflow where that run has it; once for a workflow.

    Args:
        store: the state file.
        start: the run of a workflow that is run once for its inputs, or is queued with a dedup key.
        dedup: that key.
    """
    place = start.workflow, start.script, "elsewhere"
    if place in store.noted:
        return
    from perdure.store import runs_by_inputs

    if dedup is not None:
        runs = runs_by_inputs.of_dedup_elsewhere(store, start.workflow, start.script, dedup)
        way_on = "this one is queued beside it; call it off, if that is this workflow: perdure cancel {run.id}"
    else:
        runs = runs_by_inputs.once_elsewhere(store, start.workflow, start.script, start.key)
        way_on = "this one begins anew; if that is this workflow, take that run: .with_options(id={run.id!r})"
    for run in runs:
        if (origin := _left(run)) is not None:
            store.noted.add(place)
            point_out(f"run {run.id} of workflow {run.workflow!r} is {run.status}, {origin}; {way_on.format(run=run)}")
            return


def _left(run: RunRecord) -> str | None:
    """Where the workflow of a run was and is no more; None if it is still there."""
    if not os.path.exists(run.path):
        return f"of {run.path}, which is gone"
    name = run.workflow
    if any(spec.name == name and is_same_file(spec.file, run.path) for spec in every("workflow")):
        return None
    from perdure.config.script_definitions import may_define

    return None if may_define(run.path, name) else f"of {run.path}, which defines no {name!r} any more"


def _note_moved(store: Store, start: Start) -> None:
    """The first run of a state file beside its script: one that was moved here has left its state in another folder.

    A few folders above are looked into, and the working folder: what is this user's own there.
    """
    folder = Path(os.path.realpath(script_folder(start.path)))
    if Path(os.path.realpath(store.path)) != folder / ".perdure" / "state.db":
        return
    states = [state for place in _around(folder) if os.path.isfile(state := place / ".perdure" / "state.db")]
    if not states or not _is_new(store):
        return
    for state in states:
        with suppress(Exception):  # what lies elsewhere, and cannot be read, harms no run
            if not _is_own(state):
                continue
            there = Store(state, read_only=True)
            try:
                for run in sorted(_left_behind(there, start), key=lambda run: not _is_called_alike(run, start)):
                    if _is_called_alike(run, start) or _has_its_steps(there, run):
                        point_out(_moved(run, start, state))
                        return
            finally:
                there.close()


def _left_behind(there: Store, start: Start) -> list[RunRecord]:
    """The unfinished runs of that workflow with these inputs, of files that are gone."""
    runs = there.unfinished(start.workflow)
    if start.id is not None:
        with suppress(NotFound):
            runs += [run for run in [there.run(start.id)] if run.workflow == start.workflow]
    runs = [run for run in runs if run.status in ("running", "failed") and run.key == start.key]
    gone = [run for run in runs if not os.path.exists(run.path)]
    return [run for run in gone if there.holding(run) is None]


def _is_called_alike(run: RunRecord, start: Start) -> bool:
    return os.path.basename(run.path) == os.path.basename(start.path)


def _has_its_steps(there: Store, run: RunRecord) -> bool:
    """Does this process define each step that a run has called? Then its script may be this one, renamed as well."""
    called = there.journal.read(lambda connection: code.of_run(connection, run.rid, there.path))
    steps = [name for kind, name in called if kind == "step"]
    return bool(steps) and all(is_known(name, "step") for name in steps)


def _is_new(store: Store) -> bool:
    from perdure.store.run_pages import last_number

    return last_number(store) == 0


def _around(folder: Path) -> Iterator[Path]:
    yield from islice(folder.parents, MOST_FOLDERS)
    with suppress(OSError):
        if (here := Path.cwd()) != folder and here not in folder.parents:
            yield here


def _is_own(state: Path) -> bool:
    user = getattr(os, "getuid", lambda: None)()
    return user is None or (state.stat().st_uid == user and state.parent.stat().st_uid == user)


def _moved(run: RunRecord, start: Start, state: Path) -> str:
    file = os.path.relpath(start.path) if os.path.isfile(start.path) else start.path
    command = f"perdure resume --state {shlex.quote(str(state))} {shlex.quote(run.id)} {shlex.quote(file)}"
    return (
        f"run {run.id} of workflow {run.workflow!r} is unfinished in {state}, of {run.path}, which is gone; if that is "
        f"this script, go on with it: {command}"
    )


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
    if (origin := _left(run)) is not None:
        return f"{what}, {origin}; if it was moved here, {way_on}"
    if os.path.basename(run.path) == os.path.basename(start.path):
        return f"{what}, of another script, {run.path}; if that was copied here, {way_on}"
    return None
