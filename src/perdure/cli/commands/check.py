"""`perdure check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE, FAILED, USAGE
from perdure.cli.shared_parameters import Engine, Json, State
from perdure.cli.view.terminal import Printer, as_json, count
from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.engines.interface import ReplayCheck
    from perdure.operations.check import Checked

STYLES = {"error": "red", "warning": "yellow", "hint": "dim"}


def check(
    paths: Annotated[list[Path], Parameter(help="Scripts, and folders with scripts.")],
    /,
    *,
    json: Json = False,
    strict: Annotated[bool, Parameter("--strict", negative="", help="Exit with 1 for warnings too.")] = False,
    hints: Annotated[bool, Parameter("--hints", negative="", help="Show hints as well.")] = False,
    engine: Engine = None,
    state: State = None,
) -> int:
    """Carry out `perdure check`; returns the exit code."""
    from perdure.operations import check as operation

    if not paths:
        raise OptionError("no script is named", "perdure check FILE")
    found = operation.check(paths, hints=hints, state=state, engine=engine)
    severities = {one.severity for one in found.findings}
    bad = "error" in severities or (strict and "warning" in severities) or any(not run.fits for run in found.runs)
    code = USAGE if found.problems else FAILED if bad else DONE
    if json:
        as_json(found)
    else:
        _print(found, engine is not None)
    return code


def _print(found: Checked, cluster: bool) -> None:
    printer = Printer()
    for one in found.findings:
        printer.line(f"{one.file}:{one.line}:{one.col}: {one.severity} [{one.code}] {one.text}", STYLES[one.severity])
        printer.line(f"    {one.fix}")
    for problem in found.problems:
        printer.line(f"{problem.file}: not checked: {problem.text}", "red")
    for place in found.not_seen:
        printer.line(f"{place.file}:{place.line}: not seen: {place.text}", "dim")
    numbers = {kind: sum(1 for one in found.findings if one.severity == kind) for kind in STYLES}
    said = ", ".join(count(number, kind) for kind, number in numbers.items() if number)
    left = f", {len({one.file for one in found.problems})} not checked" if found.problems else ""
    style = "" if said or left else "green"
    printer.line(f"{count(found.files, 'file')} checked{left}: {said or 'nothing found'}", style)
    if cluster:
        _print_runs(printer, found.runs)


def _print_runs(printer: Printer, runs: Sequence[ReplayCheck]) -> None:
    misfits = [one for one in runs if not one.fits]
    for one in misfits:
        printer.line(f"run {one.run} does not fit: {one.where}", "red")
    fitting = len(runs) - len(misfits)
    printer.line(f"{count(fitting, 'run')} under way fit{'s' if fitting == 1 else ''}", "green" if not misfits else "")
    if misfits:
        printer.line(f"{count(len(misfits), 'run')} would stop; run again, completed steps keep their results")
