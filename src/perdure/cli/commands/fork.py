"""`perdure fork`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import Budget, Json, LogJson, MovedScript, Reference, State
from perdure.cli.view.lineage import fork_lines
from perdure.cli.view.terminal import Printer, as_json
from perdure.cli.watched_run import go_on
from perdure.operations import deeds
from perdure.operations.find_run import find_run
from perdure.operations.fork import fork as fork_run
from perdure.operations.location import locate_run, opened
from perdure.operations.resume import raise_budget, read_budget, without_effect


def fork(
    run: Reference,
    /,
    file: MovedScript = None,
    *,
    step: Annotated[
        str,
        Parameter(
            "--from", help="A step's name (its first record counts), or # and a number; one behind the last keeps all."
        ),
    ],
    budget: Budget = None,
    run_it: Annotated[bool, Parameter("--run", negative="--no-run", help="Run the copy.")] = True,
    json: Json = False,
    log_json: LogJson = False,
    state: State = None,
) -> int:
    """Carry out `perdure fork`; returns the exit code."""
    location = locate_run(state, file)
    bounds = read_budget(budget) if budget else None
    with opened(location, run) as store:
        source = find_run(store, run)
    made = fork_run(location, source, step, time.time())
    deeds.note(location, "fork", source.id, f"from {step}: {made.run.id}")
    if bounds is not None:
        raise_budget(location, made.run, bounds)
    said = fork_lines(made, source, step)
    if run_it:
        code = go_on(made.run, file, location, accept=False, json=json, log_json=log_json, said=said)
        if bounds is not None and (idle := without_effect(location, made.run)):
            Printer(sys.stderr).line(idle, "yellow")
        return code
    sys.stderr.write(said)  # standard output is the id
    if json:
        as_json({"run": made.run.id, "forked_from": source.id})
    else:
        Printer().line(made.run.id)
    return DONE
