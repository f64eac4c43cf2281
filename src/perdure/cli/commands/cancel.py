"""`perdure cancel`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE, FAILED, INTERRUPTED
from perdure.cli.shared_parameters import (
    ALL,
    ONLY_THOSE,
    AllRuns,
    Engine,
    MovedScript,
    OfWorkflow,
    RunOrScript,
    State,
    Unmoved,
    WithText,
)
from perdure.cli.view.terminal import Printer, count
from perdure.core.durations import seconds
from perdure.errors import UsageError
from perdure.operations import deeds
from perdure.operations.cancel import cancel as cancel_run
from perdure.operations.find_run import find_id, find_run
from perdure.operations.location import locate, locate_run, opened, pin
from perdure.operations.resume_all import USUAL, Ending, Wanted, resume_each, standings, unfinished


def cancel(
    run: RunOrScript = None,
    /,
    file: MovedScript = None,
    *,
    skip_damaged: Annotated[
        bool,
        Parameter(
            negative="", help="Also if something of it is damaged: undo what is intact, name the rest, and keep it."
        ),
    ] = False,
    all: AllRuns = False,
    status: Annotated[list[Ending] | None, ONLY_THOSE] = None,
    workflow: OfWorkflow = None,
    older: Unmoved = None,
    text: WithText = None,
    dry_run: Annotated[bool, Parameter(group=ALL, negative="", help="Only say which.")] = False,
    state: State = None,
    engine: Engine = None,
) -> int:
    """Carry out `perdure cancel`; returns the exit code."""
    if all:
        if run is not None and file is not None:
            raise UsageError("--all takes one script", "give the script alone: perdure cancel --all FILE")
        script = file if run is None else Path(run)
        wanted = Wanted(script, tuple(status or USUAL), workflow, seconds(older or 0, option="--older"), text)
        return _cancel_all(wanted, state, engine, ["--skip-damaged"] * skip_damaged, dry=dry_run)
    if status or workflow or older or text or dry_run:
        raise UsageError(
            "--status, --workflow, --older, --text and --dry-run go with --all", "add --all, or name a run alone"
        )
    if run is None:
        raise UsageError("no run is named", "name one, as `perdure ps` lists them, or add --all")
    return _cancel_one(run, file, state, engine, skip_damaged=skip_damaged)


def _cancel_one(run: str, file: Path | None, state: Path | None, engine: str | None, *, skip_damaged: bool) -> int:
    location = locate_run(state, file, engine)
    with opened(location, run) as store:
        id = find_id(store, run) if skip_damaged else find_run(store, run).id
    pin(location)  # also for what the script looks up while it is loaded
    found = cancel_run(location, id, file, skip_damaged=skip_damaged)
    printer = Printer(sys.stderr)
    for line in found.missed:
        printer.line(line)
    match found.outcome:
        case "none" if found.missed:
            printer.line(f"run {id} was {found.was} already")
        case "none":
            printer.line(f"run {id} was {found.was} already; nothing was done")
            return FAILED
        case "requested":
            when = f": pid {found.pid} stops it at its next safe point" if found.pid is not None else ""
            printer.line(f"run {id} was asked to end{when}")
        case "ended":
            printer.line(f"run {id} is cancelled")
    deeds.note(location, "cancel", id, found.outcome)
    return FAILED if found.missed else DONE


def _cancel_all(wanted: Wanted, state: Path | None, engine: str | None, options: Sequence[str], *, dry: bool) -> int:
    location = locate(state, wanted.script, engine)
    with opened(location) as store:
        runs, damaged = unfinished(store, location, wanted, time.time())
    if options:
        runs, damaged = [*runs, *damaged], []
    printer = Printer(sys.stderr)
    for one in damaged:
        printer.line(f"run {one.id} is not cancelled: {one.error}, or add --skip-damaged", "yellow")
    if not runs:
        printer.line("no unfinished run is to be cancelled")
        return FAILED if damaged else DONE
    if dry:
        for each in runs:
            printer.line(f"{each.id}  {each.workflow}{each.inputs}  {each.status}")
        printer.line(f"{count(len(runs), 'run')} would be cancelled", "bold")
        return FAILED if damaged else DONE
    codes = []
    for code in resume_each(runs, location, wanted.script, options, "cancel"):
        codes.append(code)
        if code == INTERRUPTED:
            break
    with opened(location) as store:
        stand = Counter(standings(store, runs[: len(codes)]))
    how = [f"{number} {name}" for name, number in sorted(stand.items())]
    how += [f"{len(runs) - len(codes)} not cancelled"] * (len(codes) < len(runs))
    printer.line(f"{count(len(runs), 'run')}: {', '.join(how)}", "bold")
    if INTERRUPTED in codes:
        return INTERRUPTED
    return FAILED if damaged or any(codes) else DONE
