"""How `perdure show --log` looks."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.cli.view.terminal import Printer, date, one_line
from perdure.operations.run_log import LogView

STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


def show_log(lines: Sequence[LogView]) -> None:
    """The lines of a run, oldest first."""
    printer = Printer()
    for line in lines:
        first, *more = line.text.splitlines() or [""]
        attempt = f", attempt {line.attempt}" if line.attempt > 1 else ""
        said = " ".join(part for part in (line.level, line.logger) if part)
        about = f"{date(line.at)}  {line.step}{attempt}  {said}{': ' if said else ''}"
        printer.line(one_line(f"{about}{first}"), STYLES.get(line.level, ""))
        for each in more:
            printer.line(one_line(f"    {each}"), STYLES.get(line.level, ""))
    if not lines:
        printer.line("no line of it is kept", "dim")
