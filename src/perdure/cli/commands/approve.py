"""`perdure approve`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Reference, Where
from perdure.cli.view.terminal import Printer, as_json, one_line
from perdure.operations import deeds
from perdure.operations.approvals import answer

Note = Annotated[str, Parameter(help="For the workflow: why.")]
By = Annotated[str, Parameter(help="Who answers, if not the user of this terminal.")]
Title = Annotated[str, Parameter(help="A part of what was asked, if the run asks several things.")]


def approve(
    run: Reference, /, *, note: Note = "", by: By = "", title: Title = "", json: Json = False, where: Where = ANYWHERE
) -> int:
    """Carry out `perdure approve`; returns the exit code."""
    return print_answer(where, run, True, note=note, by=by, title=title, json=json)


def print_answer(where: Where, run: str, approved: bool, *, note: str, by: str, title: str, json: bool) -> int:
    """Answer, and say so; returns the exit code."""
    location = where.locate()
    found = answer(location, run, approved, note=note, by=by, title=title)
    deeds.note(location, "approve" if approved else "reject", found.run, found.title)
    if json:
        as_json(found)
        return DONE
    Printer().line(one_line(found.text()))
    if found.advice:
        Printer(sys.stderr).line(f"  {found.advice}", "yellow")
    return DONE
