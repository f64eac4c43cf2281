"""`perdure resume`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DEAD_LETTERS, DONE, FAILED, INTERRUPTED, SUSPENDED
from perdure.cli.shared_parameters import (
    ONLY_THOSE,
    AllRuns,
    Budget,
    Engine,
    LogJson,
    MovedScript,
    OfWorkflow,
    Quiet,
    RunOrScript,
    State,
    Unmoved,
    WithText,
)
from perdure.cli.view.terminal import Printer, count
from perdure.cli.watched_run import go_on, print_finish
from perdure.core.durations import seconds
from perdure.core.execution.spec import IfLocked
from perdure.errors import UsageError
from perdure.operations import deeds
from perdure.operations.find_run import find_run
from perdure.operations.location import locate, locate_run, opened
from perdure.operations.resume import finished, raise_budget, read_budget, refuse_cancelled, without_effect
from perdure.operations.resume_all import USUAL, Unfinished, Wanted, resume_each, standings, unfinished


def resume(
    run: RunOrScript = None,
    /,
    file: MovedScript = None,
    *,
    accept_changes: Annotated[
        bool, Parameter(negative="", help="The script was edited on purpose: what it calls anew is new work.")
    ] = False,
    budget: Budget = None,
    if_locked: Annotated[
        IfLocked | None, Parameter(help="If another process has it. As the workflow says, else skip.")
    ] = None,
    wait: Annotated[
        bool, Parameter(negative="", help="Stay while the run sleeps or waits for a signal, however long.")
    ] = False,
    all: AllRuns = False,
    status: Annotated[list[Unfinished] | None, ONLY_THOSE] = None,
    workflow: OfWorkflow = None,
    older: Unmoved = None,
    text: WithText = None,
    json: Annotated[
        bool, Parameter("--json", negative="", help="One line of JSON for each run that is resumed, for programs.")
    ] = False,
    log_json: LogJson = False,
    quiet: Quiet = False,
    state: State = None,
    engine: Engine = None,
) -> int:
    """Carry out `perdure resume`; returns the exit code."""
    if all:
        if run is not None and file is not None:
            raise UsageError("--all takes one script", "give the script alone: perdure resume --all FILE")
        script = file if run is None else Path(run)
        wanted = Wanted(script, tuple(status or USUAL), workflow, seconds(older or 0, option="--older"), text)
        options = [f"--budget={each}" for each in budget or ()]
        options += ["--accept-changes"] * accept_changes + ["--json"] * json + ["--log-json"] * log_json
        options += ["--quiet"] * quiet + ["--wait"] * wait
        options += [] if if_locked is None else [f"--if-locked={if_locked}"]
        return _resume_all(wanted, options, state, engine)
    if status or workflow or older or text:
        raise UsageError(
            "--status, --workflow, --older and --text choose among all runs", "add --all, or name a run alone"
        )
    if run is None:
        raise UsageError("no run is named", "name one, as `perdure ps` lists them, or add --all")
    location = locate_run(state, file, engine)
    with opened(location, run) as store:
        found = find_run(store, run)
    refuse_cancelled(found, location)
    deeds.note(location, "resume", found.id, f"it was {found.status}")
    if budget:
        raise_budget(location, found, read_budget(budget))
    if found.status == "done":
        Printer(sys.stderr).line(f"run {found.id} is done; this is its result")
        return print_finish(finished(location, found), location, json=json)
    code = go_on(
        found,
        file,
        location,
        accept=accept_changes,
        json=json,
        log_json=log_json,
        if_locked=if_locked,
        quiet=quiet,
        wait=wait,
    )
    if budget and (said := without_effect(location, found)):
        Printer(sys.stderr).line(said, "yellow")
    return code


def _resume_all(wanted: Wanted, options: list[str], state: Path | None, engine: str | None) -> int:
    location = locate(state, wanted.script, engine)
    with opened(location) as store:
        runs, damaged = unfinished(store, location, wanted, time.time())
    printer = Printer(sys.stderr)
    for one in damaged:
        printer.line(f"run {one.id} is not resumed: {one.error}", "yellow")
    if not runs:
        printer.line("no unfinished run is to be resumed")
        return FAILED if damaged else DONE
    codes = []
    for code in resume_each(runs, location, wanted.script, options):
        codes.append(code)
        if code == INTERRUPTED:
            break
    with opened(location) as store:
        stand = Counter(_STANDING.get(each, each) for each in standings(store, runs[: len(codes)]))
    how = [f"{number} {name}" for name, number in sorted(stand.items())]
    how += [f"{len(runs) - len(codes)} not resumed"] * (len(codes) < len(runs))
    printer.line(f"{count(len(runs), 'run')}: {', '.join(how)}", "bold")
    if INTERRUPTED in codes:
        return INTERRUPTED
    return FAILED if damaged or set(codes) - {DONE, DEAD_LETTERS, SUSPENDED} else max(codes)


_STANDING = {"dead": "done with dead letters"}
