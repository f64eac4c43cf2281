"""`perdure show`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, COUNT, Json, Reference, Verbose, Watch, Where
from perdure.cli.view.log_page import show_log
from perdure.cli.view.show_page import show_run
from perdure.cli.view.terminal import Printer, as_json, stream_struct
from perdure.cli.view.watching import watch as watch_it
from perdure.engines.features import Feature
from perdure.engines.selection import capabilities_at
from perdure.errors import OptionError
from perdure.operations.find_run import find_run
from perdure.operations.location import Location, opened
from perdure.operations.run_log import log_of
from perdure.operations.show import details_of, each_step, find_to_show, run_details

STEPS = 200
"""Steps that are shown, unless another limit is given."""

FOLD = 10
"""Calls of a step from which on they are one line, unless that step or a limit is asked for."""

ENDED = ("done", "dead", "failed", "parked", "cancelled", "superseded", "interrupted")


def show(
    run: Reference,
    *,
    step: Annotated[str | None, Parameter(help="Only the steps of this name.")] = None,
    verbose: Verbose = False,
    limit: Annotated[
        int | None,
        Parameter(validator=COUNT, help="The last so many steps, 200 if it is not given; 0 for all."),
    ] = None,
    log: Annotated[
        bool, Parameter(negative="", help="Only what its attempts have logged and printed; --limit counts lines.")
    ] = False,
    watch: Watch = False,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Carry out `perdure show`; returns the exit code."""
    location = where.locate()
    most = STEPS if limit is None else limit or None
    if log:
        return _show_log(location, run, step, most, json=json)
    fold = FOLD if step is None and limit is None and not verbose else None
    if json:
        if watch:
            raise OptionError("--watch is for people", "leave out --json")
        with opened(location, run) as store:
            found, damaged = find_to_show(store, run)
            details = details_of(store, found, damaged, step=step, limit=most or 0, data=True)
            if most is None:
                details = msgspec.structs.replace(details, earlier=0)
            stream_struct(details, "steps", details.steps if most else each_step(store, found, step, details.damaged))
        return DONE

    def draw(printer: Printer) -> bool:
        with opened(location, run) as store:
            details = run_details(store, run, step=step, limit=most, fold=fold)
        show_run(details, printer, verbose=verbose)
        if not location.supports(Feature.EXECUTIONS):
            printer.line(capabilities_at(location.engine).reason(Feature.EXECUTIONS), "dim")
        return details.run.status not in ENDED

    if watch:
        watch_it(draw)
    else:
        draw(Printer())
    return DONE


def _show_log(location: Location, run: str, step: str | None, most: int | None, *, json: bool) -> int:
    location.require(Feature.STATE_FILE)
    with opened(location, run) as store:
        lines = log_of(store, find_run(store, run), step=step, limit=most)
    if json:
        as_json({"lines": lines})
    else:
        show_log(lines)
    return DONE
