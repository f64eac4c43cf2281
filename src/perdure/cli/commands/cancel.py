"""`perdure cancel`."""

from __future__ import annotations

import sys
from pathlib import Path

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.view.terminal import Printer
from perdure.operations.cancel import cancel
from perdure.operations.find_run import find_run
from perdure.operations.location import Place, opened, pin


def main(place: Place, reference: str, script: Path | None) -> int:
    """`perdure cancel`: returns the exit code."""
    with opened(place, reference) as store:
        run = find_run(store, reference).id
    pin(place)  # also for what the script looks up while it is loaded
    done = cancel(place, run, script)
    if done.was in ("done", "cancelled") or (done.was == "failed" and place.engine != "local"):
        Printer(sys.stderr).line(f"run {run} was {done.was} already; nothing was done")
        return FAILED
    for line in done.missed:
        Printer(sys.stderr).line(f"{line}")
    if done.pid is not None:
        Printer(sys.stderr).line(f"run {run} was told to end: pid {done.pid} stops it at its next safe point")
    elif place.engine != "local":
        Printer(sys.stderr).line(f"run {run} was told to end")
    else:
        Printer(sys.stderr).line(f"run {run} is cancelled")
    return FAILED if done.missed else DONE
