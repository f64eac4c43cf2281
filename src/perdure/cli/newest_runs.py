"""The newest runs, as `perdure ps` lists them. Without options it needs nothing that parses a command line."""

from __future__ import annotations

from itertools import islice

from perdure.cli.exit_codes import DONE
from perdure.cli.view.ps_table import show_runs
from perdure.operations.location import Location, locate, opened
from perdure.operations.paging import PAGE
from perdure.operations.ps import RunFilter, each_run

MOST = 20
"""Runs that are listed, if the command line does not say how many."""


def list_newest() -> int:
    """Carry out `perdure ps` as it is; returns the exit code."""
    return show_newest(locate(), RunFilter(inputs=False), MOST)


def show_newest(location: Location, wanted: RunFilter, most: int | None, *, verbose: bool = False) -> int:
    """List runs, newest first; returns the exit code.

    Args:
        location: where they are kept.
        wanted: which.
        most: how many; None for all.
        verbose: dates, inputs, scripts and errors too.
    """
    with opened(location, most=most) as store:
        views = list(islice(each_run(store, wanted, PAGE if most is None else most), most))
        show_runs(views, verbose=verbose, here=location.state_file is not None)
    return DONE
