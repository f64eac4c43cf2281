"""`perdure ps`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.newest_runs import MOST, show_newest
from perdure.cli.shared_parameters import ANYWHERE, Json, Limit, Watch, Where
from perdure.cli.view.ps_table import show_runs
from perdure.cli.view.terminal import Printer, stream_listing
from perdure.cli.view.watching import watch as watch_it
from perdure.errors import OptionError
from perdure.operations.location import opened
from perdure.operations.paging import PAGE
from perdure.operations.ps import RunFilter, each_run, list_runs
from perdure.operations.run_views import Standing


def ps(
    *,
    status: Annotated[Standing | None, Parameter(help="Only runs that stand so; dead: done with dead letters.")] = None,
    workflow: Annotated[str | None, Parameter(help="Only runs of this workflow.")] = None,
    text: Annotated[str | None, Parameter(help="Only runs with this in their id or their inputs.")] = None,
    all: Annotated[bool, Parameter(("--all", "-a"), negative="", help="Child runs too.")] = False,
    verbose: Annotated[
        bool, Parameter(("--verbose", "-v"), negative="", help="Dates, inputs, scripts and errors too.")
    ] = False,
    limit: Limit = MOST,
    watch: Watch = False,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Carry out `perdure ps`; returns the exit code."""
    location, most = where.locate(), limit or None
    wanted = RunFilter(status, workflow, all, text=text, inputs=verbose or json)
    if watch:
        if json or most is None:
            raise OptionError("--watch shows one page, for people", "leave out --json and --limit 0")

        def draw(printer: Printer) -> bool:
            with opened(location, most=most) as store:
                views = list_runs(store, wanted, limit=most)
            show_runs(views, printer, verbose=verbose, here=location.state_file is not None)
            return True

        watch_it(draw)
        return DONE
    if not json:
        return show_newest(location, wanted, most, verbose=verbose)
    with opened(location, most=most) as store:
        stream_listing("runs", islice(each_run(store, wanted, PAGE if most is None else most), most))
    return DONE
