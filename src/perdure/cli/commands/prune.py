"""`perdure prune`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANY_STATE_FILE, Json, WhichStateFile
from perdure.cli.view.terminal import Printer, as_json, count
from perdure.core.durations import show
from perdure.operations.prune import Removed
from perdure.operations.prune import prune as prune_runs
from perdure.store.removal import GRACE

WHY = {
    "unfinished": "they, or runs that they belong to, can be gone on with",
    "recent": "runs that they belong to have ended later",
    "letters": "they have parked dead letters; --letters removes those too",
    "newest": "the newest run stays, so that its number is not given again",
    "lock": "a lock names them",
    "wait": "another run waits for them",
    "named": "an unfinished run names them in what it was given, or in its records: it may ask for their results",
    "export": "dead letters of theirs are still to be exported",
    "redrive": "a dead letter of theirs is being re-driven",
    "schedule": "a schedule counts from them",
    "related": "a fork of theirs, or the run that they are a fork of, stays for another reason",
}


def prune(
    *,
    older: Annotated[str, Parameter(help='Only runs that ended longer ago than this: "30d", "12h".')],
    workflow: Annotated[str | None, Parameter(help="Only runs of this workflow.")] = None,
    letters: Annotated[bool, Parameter(negative="", help="Runs with parked dead letters too.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what would be removed.")] = False,
    verbose: Annotated[bool, Parameter(("--verbose", "-v"), negative="", help="Name each run.")] = False,
    json: Json = False,
    where: WhichStateFile = ANY_STATE_FILE,
) -> int:
    """Carry out `perdure prune`; returns the exit code."""
    found = prune_runs(where.locate_for_runs(), older, workflow=workflow, letters=letters, dry=dry_run)
    if json:
        as_json(found)
        return DONE
    printer = Printer()
    for id in found.runs if verbose else ():
        printer.line(id, "dim")
    _say(printer, found, "would be removed" if dry_run else "removed")
    return DONE


def _say(printer: Printer, found: Removed, removed: str) -> None:
    parts = [count(len(found.runs), "run")]
    parts += [
        count(number, noun)
        for number, noun in (
            (found.children, "child run"),
            (found.steps, "step"),
            (found.letters, "dead letter"),
            (len(found.artifacts), "artifact"),
        )
        if number
    ]
    printer.line(f"{', '.join(parts)} {removed}", "bold")
    if found.later:
        young = f"written less than {show(GRACE)} ago; a later prune removes what no run uses"
        printer.line(f"{count(found.later, 'artifact')} kept: {young}")
    for why, number in found.kept.items():
        printer.line(f"{count(number, 'run')} kept: {WHY[why]}")
