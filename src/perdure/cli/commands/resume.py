"""`perdure resume`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.shared_parameters import Engine, Json, LogJson, MovedScript, Reference, State
from perdure.cli.view.terminal import Printer
from perdure.cli.watched_run import go_on, print_finish
from perdure.core.execution.spec import IfLocked
from perdure.operations.find_run import find_run
from perdure.operations.location import locate_run, opened
from perdure.operations.resume import finished, raise_budget


def resume(
    run: Reference,
    file: MovedScript = None,
    /,
    *,
    accept_changes: Annotated[
        bool, Parameter(negative="", help="The script was edited on purpose: what it calls anew is new work.")
    ] = False,
    budget: Annotated[
        list[str] | None,
        Parameter(help="Raise a bound of its budgets: usd=5, tokens=1000000, calls=100 or seconds=900.", negative=""),
    ] = None,
    if_locked: Annotated[
        IfLocked | None, Parameter(help="If another process has it. As the workflow says, else skip.")
    ] = None,
    json: Json = False,
    log_json: LogJson = False,
    state: State = None,
    engine: Engine = None,
) -> int:
    """Carry out `perdure resume`; returns the exit code."""
    location = locate_run(state, file, engine)
    with opened(location, run) as store:
        found = find_run(store, run)
    if budget:
        raise_budget(location, found, budget)
    if found.status == "done":
        Printer(sys.stderr).line(f"run {found.id} is done; this is its result")
        return print_finish(finished(location, found), json=json)
    return go_on(found, file, location, accept=accept_changes, json=json, log_json=log_json, if_locked=if_locked)
