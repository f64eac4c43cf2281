"""How schedules look."""

from __future__ import annotations

from datetime import UTC, datetime

from perdure.cli.view.terminal import Printer, count
from perdure.core.durations import show
from perdure.operations.schedules import ScheduleView, TickView

STYLES = {"paused": "yellow", "undeclared": "yellow", "damaged": "red"}


def shown(moment: datetime | None) -> str:
    """A moment of a schedule in its own zone."""
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M" + (":%S" if moment.second else "") + " %Z")


def show_list(views: list[ScheduleView]) -> None:
    """A table of schedules."""
    printer = Printer()
    if not views:
        printer.line("no schedule was declared; `perdure worker FILE` declares those of a script", "dim")
        return
    rows = [(view.name, view.spec, view.tz, _next(view), _last(view), str(view.missed_ticks or "-")) for view in views]
    notes = [view.note if view.status == "damaged" else None for view in views]
    headings = ("NAME", "SCHEDULE", "ZONE", "NEXT", "LAST", "MISSED")
    printer.table(headings, rows, [_style(view) for view in views], notes=notes)


def show_one(view: ScheduleView) -> None:
    """A schedule, and its ticks."""
    printer = Printer()
    printer.line(f"{view.name}: workflow {view.workflow} of {view.script}", "bold")
    printer.line(f"  {view.spec}, {view.tz}; {view.status}; next {_next(view)}", _style(view))
    options = [f"overlap {view.overlap}", f"missed {view.missed}, within {show(view.within)}"]
    if view.spread:
        options.append(f"spread over {show(view.spread)}")
    if view.queue is not None:
        options.append(f"queue {view.queue}")
    printer.line(f"  {'; '.join(options)}")
    if view.note:
        printer.line(f"  {view.note}")
    if not view.latest:
        printer.line("  no tick so far", "dim")
        return
    rows = [(_span(tick), tick.outcome, tick.run or "-", _how(tick)) for tick in view.latest]
    printer.line()
    printer.table(("DUE", "TICK", "RUN", ""), rows)


def _style(view: ScheduleView) -> str:
    return "red" if view.overdue > 60 else STYLES.get(view.status, "")


def _next(view: ScheduleView) -> str:
    if view.status != "active":
        return view.status
    if view.next is None:
        return "never"
    if view.overdue > 60:
        return f"{shown(view.next)} (for {show(view.overdue)}: no worker serves it)"
    left = (view.next - datetime.now(UTC)).total_seconds()
    return f"{shown(view.next)} (in {show(round(max(left, 0.0)))})"


def _last(view: ScheduleView) -> str:
    for tick in view.latest:
        if tick.status is not None and tick.outcome != "skipped":
            return f"{tick.status}, {show(round(tick.seconds, 1))}" if tick.seconds is not None else tick.status
    return "-"


def _span(tick: TickView) -> str:
    if tick.due is None or tick.last == tick.due:
        return shown(tick.due)
    return f"{shown(tick.due)} to {shown(tick.last)}"


def _how(tick: TickView) -> str:
    if tick.outcome == "skipped":
        many = "" if tick.ticks == 1 else "several ticks: " if tick.ticks is None else f"{count(tick.ticks, 'tick')}: "
        return many + tick.why
    stands = f", stands for {count(tick.missed, 'missed tick')}" if tick.missed else ""
    return (tick.status or "") + stands
