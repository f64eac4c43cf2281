"""How `perdure doctor` looks."""

from __future__ import annotations

import shlex

from perdure.cli.view.terminal import Printer
from perdure.operations.doctor import Check, Health
from perdure.operations.set_aside import SetAside
from perdure.operations.skip_damaged_journal import SkippedJournal

VERDICTS = {"ok": "green", "note": "", "warning": "yellow", "wrong": "red"}


def show_health(found: Health) -> None:
    """What the doctor has found."""
    printer = Printer()
    for title, checks in (("installation", found.installation), ("state file", found.state)):
        printer.line(title, "bold")
        for check in checks:
            _check(printer, check)
    printer.line("nothing is wrong" if found.ok else "something is wrong", "green" if found.ok else "red")


def show_set_aside(moved: SetAside) -> None:
    """What was moved, and how it is looked at there."""
    printer = Printer()
    printer.line(f"moved to {moved.folder}: {', '.join(moved.files)}")
    state = min(moved.files, key=len)  # the others' names begin with it
    printer.line(f"see what is in it: perdure ps --state {shlex.quote(str(moved.folder / state))}")


def show_skipped(skipped: SkippedJournal) -> None:
    """What was given up, and where the copy is."""
    printer = Printer()
    if skipped.gone:
        given_up = "the journal that is gone is given up: calls that were saved in it are made again"
    else:
        commits = "1 commit is" if skipped.commits == 1 else f"{skipped.commits:,} commits are"
        given_up = f"{commits} given up, from the damage on: calls that were saved by them are made again"
    printer.line(given_up, "yellow")
    printer.line(f"a copy of the state file and its journal is in {skipped.folder}")


def _check(printer: Printer, check: Check) -> None:
    printer.line(f"  {check.verdict:<8} {check.name:<12} {check.finding}", VERDICTS[check.verdict])
    if check.hint:
        printer.line(f"{'':<11} {'':<12} what to do: {check.hint}")
