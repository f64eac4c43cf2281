"""How `perdure ps` looks."""

from __future__ import annotations

from socket import gethostname

from perdure.cli.view.terminal import Printer, count, date
from perdure.core.durations import show
from perdure.operations.ps import RunView

STYLES = {
    "running": "cyan",
    "stopping": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "parked": "red",
    "done": "",
    "dead": "yellow",
    "cancelled": "dim",
}


def show_runs(views: list[RunView]) -> None:
    """A table of runs."""
    printer = Printer()
    rows = [
        (
            view.id,
            view.workflow,
            run_status(view),
            str(view.steps),
            date(view.created),
            "-" if view.seconds is None else show(view.seconds),
            view.last_step or "-",
        )
        for view in views
    ]
    headings = ("RUN", "WORKFLOW", "STATUS", "STEPS", "STARTED", "TOOK", "LAST STEP")
    printer.table(headings, rows, [STYLES[view.status] for view in views])


def run_status(view: RunView) -> str:
    """How a run stands, where it is executed, and its dead letters."""
    if view.status == "running" and not view.pid:
        return f"running on {view.host}"
    if view.status == "running":
        return f"running (pid {view.pid}{'' if view.host == gethostname() else f' on {view.host}'})"
    if view.dead_letters:
        return f"{'done' if view.status == 'dead' else view.status}, {count(view.dead_letters, 'dead letter')}"
    return view.status
