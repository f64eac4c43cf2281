"""`perdure show`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Reference, Verbose, Where
from perdure.cli.view.show_page import show_run
from perdure.cli.view.terminal import Printer, as_json
from perdure.engines.features import Feature
from perdure.engines.selection import capabilities_at
from perdure.operations.find_run import find_run
from perdure.operations.location import opened
from perdure.operations.show import details_of

STEPS = 200
"""Steps that are shown, unless another limit is given."""


def show(
    run: Reference,
    *,
    step: Annotated[str | None, Parameter(help="Only the steps of this name.")] = None,
    verbose: Verbose = False,
    limit: Annotated[
        int | None,
        Parameter(validator=Number(gte=0), help="The last so many steps; 0 for all. 200, or all with --json."),
    ] = None,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Carry out `perdure show`; returns the exit code."""
    most = (None if json else STEPS) if limit is None else limit or None
    location = where.locate()
    with opened(location, run) as store:
        details = details_of(store, find_run(store, run), step=step, limit=most, data=json)
    if json:
        as_json(details)
    else:
        show_run(details, verbose=verbose)
        if not location.supports(Feature.EXECUTIONS):
            Printer().line(capabilities_at(location.engine).reason(Feature.EXECUTIONS), "dim")
    return DONE
