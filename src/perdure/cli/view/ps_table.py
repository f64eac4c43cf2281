"""How `perdure ps` looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache

from perdure.cli.view.terminal import Printer, ago, count, date
from perdure.core.durations import show
from perdure.operations.gone_scripts import UNFINISHED, go_on, script_gone
from perdure.operations.run_views import RunView

STYLES = {
    "queued": "",
    "running": "cyan",
    "stopping": "cyan",
    "suspended": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "parked": "red",
    "done": "",
    "dead": "yellow",
    "cancelled": "dim",
    "superseded": "dim",
    "damaged": "red",
}


STEPS, WORKFLOW, STARTED = 3, 1, 4
"""Columns that a narrow terminal has no room for, in this order."""


def show_runs(
    views: Sequence[RunView],
    printer: Printer | None = None,
    *,
    verbose: bool = False,
    now: datetime | None = None,
    here: bool = False,
) -> None:
    """A table of runs, with the error of each that has failed below it.

    Args:
        views: the runs.
        printer: where to; standard output by default.
        verbose: dates rather than how long ago that is, and inputs and scripts too.
        now: the time of day.
        here: their scripts are on this machine, and are looked for if a run is unfinished.
    """
    printer = printer or Printer()
    now = now or datetime.now(UTC)
    relative = printer.terminal and not verbose  # in a file, "3 min ago" says nothing tomorrow
    rows = [
        (
            view.id,
            view.workflow,
            run_status(view) + lineage(view),
            ("" if view.counted else "~") + str(view.steps),
            ago(view.created, now) if relative else date(view.created),
            "-" if view.seconds is None else show(view.seconds),
            (view.waits if view.status in ("suspended", "queued", "interrupted") else None) or view.last_step or "-",
        )
        for view in views
    ]
    headings = ("RUN", "WORKFLOW", "STATUS", "STEPS", "STARTED", "TOOK", "LAST STEP")
    styles = [STYLES[view.status] for view in views]
    gone = cache(script_gone) if here else lambda _: None
    notes = [_note(_more(view) if verbose else view.error, view, gone) for view in views]
    printer.table(headings, rows, styles, notes=notes, spare=(STEPS, WORKFLOW, STARTED))


def _note(about: str | None, view: RunView, gone: Callable[[str], str | None]) -> str | None:
    why = None if view.child or view.status not in UNFINISHED else gone(view.script)
    if why is None:
        return about
    said = f"{why.partition(';')[0]}; go on: {go_on(view.id, view.script)}"
    return f"{about}; {said}" if about else said


def _more(view: RunView) -> str:
    error = f"; {view.error}" if view.error else ""
    return f"{view.script}: {view.workflow}{view.inputs}{error}"


def lineage(view: RunView) -> str:
    """Which run it was forked from, and which fork has superseded it, as an addition to its status."""
    source = f", fork of {view.forked_from}" if view.forked_from else ""
    if not view.superseded_by or view.status == "superseded":
        return source
    return f"{source}, forked: {view.superseded_by}"


def run_status(view: RunView) -> str:
    """How a run stands, where it is executed, and its dead letters."""
    if view.status == "running" and not view.pid:
        return f"running on {view.host}"
    if view.status == "running":
        from socket import gethostname

        return f"running (pid {view.pid}{'' if view.host == gethostname() else f' on {view.host}'})"
    status = "done" if view.status == "dead" else str(view.status)
    if view.status == "superseded" and view.superseded_by:
        status = f"superseded by {view.superseded_by}"
    return f"{status}, {count(view.dead_letters, 'dead letter')}" if view.dead_letters else status
