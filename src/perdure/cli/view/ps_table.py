"""How `perdure ps` looks."""

from __future__ import annotations

from socket import gethostname

from perdure.cli.view.terminal import Printer, count, date
from perdure.core.durations import show
from perdure.operations.ps import RunView

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
}


def show_runs(views: list[RunView]) -> None:
    """A table of runs."""
    printer = Printer()
    rows = [
        (
            view.id,
            view.workflow,
            run_status(view) + lineage(view),
            str(view.steps),
            date(view.created),
            "-" if view.seconds is None else show(view.seconds),
            (view.waits if view.status in ("suspended", "queued") else None) or view.last_step or "-",
        )
        for view in views
    ]
    headings = ("RUN", "WORKFLOW", "STATUS", "STEPS", "STARTED", "TOOK", "LAST STEP")
    printer.table(headings, rows, [STYLES[view.status] for view in views])


def lineage(view: RunView) -> str:
    """Which run it was forked from, and which fork has superseded it, as an addition to its status."""
    source = f", fork of {view.forked_from}" if view.forked_from else ""
    if not view.superseded_by:
        return source
    return (
        f" by {view.superseded_by}{source}"
        if view.status == "superseded"
        else f"{source}, forked: {view.superseded_by}"
    )


def run_status(view: RunView) -> str:
    """How a run stands, where it is executed, and its dead letters."""
    if view.status == "running" and not view.pid:
        return f"running on {view.host}"
    if view.status == "running":
        return f"running (pid {view.pid}{'' if view.host == gethostname() else f' on {view.host}'})"
    if view.dead_letters:
        return f"{'done' if view.status == 'dead' else view.status}, {count(view.dead_letters, 'dead letter')}"
    return view.status
