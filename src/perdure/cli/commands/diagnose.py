"""`perdure diagnose`."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Reference, Where
from perdure.cli.view.terminal import Printer, as_json, date, one_line, safe
from perdure.operations.diagnose import diagnose as look
from perdure.operations.diagnose_finding import Finding
from perdure.operations.find_run import find_run
from perdure.operations.location import opened

All = Annotated[bool, Parameter("--all", negative="", help="Also what is only possible.")]


def diagnose(run: Reference, *, json: Json = False, all: All = False, where: Where = ANYWHERE) -> int:
    """Carry out `perdure diagnose`; returns the exit code."""
    location = where.locate()
    with opened(location, run) as store:
        found = look(store, find_run(store, run), location)
    if json:
        as_json(found)
        return DONE
    printer = Printer()
    shown = [one for one in found.findings if all or one.confidence != "possible"]
    printer.line(one_line(f"run {found.run} of {found.workflow}: {found.status}"), "bold")
    for one in shown:
        _finding(printer, one)
    hidden = len(found.findings) - len(shown)
    if not shown:
        if found.status == "done":
            printer.line("nothing is found in its records")
        else:  # an error of the script's own, a signal, a wait: it has a reason, and no entry of the catalogue is it
            printer.line("none of the failures in `perdure failures` is found in its records; why it stands:")
            printer.line(f"  perdure why {quote(found.run)}", "bold")
    if hidden:
        printer.line(
            f"{hidden} more {'is' if hidden == 1 else 'are'} possible: --all shows {'it' if hidden == 1 else 'them'}",
            "dim",
        )
    printer.line()
    printer.line(f"not seen: {'; '.join(found.not_seen)}", "dim")
    return DONE


def _finding(printer: Printer, one: Finding) -> None:
    printer.line()
    printer.line(one_line(f"{one.code} ({one.confidence})  {one.text}"), "yellow")
    for each in one.evidence:
        at = f"{date(each.at)}  " if each.at is not None else ""
        printer.line(one_line(f"  {at}{each.text}"), "dim")
    for line in f"what to do: {one.fix}".splitlines():
        printer.line(safe(f"  {line}"))
    for command in one.commands:
        printer.line(f"  {command}", "bold")
    printer.line(f"  read more: perdure failures {one.code}", "dim")
