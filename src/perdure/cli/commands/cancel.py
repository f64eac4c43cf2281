"""`perdure cancel`."""

from __future__ import annotations

import sys

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import Engine, MovedScript, Reference, State
from perdure.cli.view.terminal import Printer
from perdure.operations.cancel import cancel as cancel_run
from perdure.operations.find_run import find_run
from perdure.operations.location import locate_run, opened, pin


def cancel(
    run: Reference,
    file: MovedScript = None,
    /,
    *,
    state: State = None,
    engine: Engine = None,
) -> int:
    """Carry out `perdure cancel`; returns the exit code."""
    location = locate_run(state, file, engine)
    with opened(location, run) as store:
        id = find_run(store, run).id
    pin(location)  # also for what the script looks up while it is loaded
    found = cancel_run(location, id, file)
    printer = Printer(sys.stderr)
    for line in found.missed:
        printer.line(line)
    match found.outcome:
        case "none":
            printer.line(f"run {id} was {found.was} already; nothing was done")
            return FAILED
        case "requested":
            when = f": pid {found.pid} stops it at its next safe point" if found.pid is not None else ""
            printer.line(f"run {id} was asked to end{when}")
        case "ended":
            printer.line(f"run {id} is cancelled")
    return FAILED if found.missed else DONE
