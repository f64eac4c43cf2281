"""`perdure ps`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Limit, Where
from perdure.cli.view.ps_table import show_runs
from perdure.cli.view.terminal import as_json
from perdure.operations.location import opened
from perdure.operations.ps import Standing, list_runs


def ps(
    *,
    status: Annotated[Standing | None, Parameter(help="Only runs that stand so; dead: done with dead letters.")] = None,
    workflow: Annotated[str | None, Parameter(help="Only runs of this workflow.")] = None,
    all: Annotated[bool, Parameter(("--all", "-a"), negative="", help="Child runs too.")] = False,
    limit: Limit = 20,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Carry out `perdure ps`; returns the exit code."""
    with opened(where.locate(), most=limit or None) as store:
        views = list_runs(store, status=status, workflow=workflow, children=all, limit=limit or None)
    if json:
        as_json(views)
    else:
        show_runs(views)
    return DONE
