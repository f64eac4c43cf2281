"""`perdure cancel`."""

from __future__ import annotations

import sys
from pathlib import Path

from perdure.cli.exit_codes import DONE, FAILED
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
        sys.stderr.write(f"run {run} was {done.was} already; nothing was done\n")
        return FAILED
    for line in done.missed:
        sys.stderr.write(f"{line}\n")
    if done.pid is not None:
        sys.stderr.write(f"run {run} was told to end: pid {done.pid} stops it at its next safe point\n")
    elif place.engine != "local":
        sys.stderr.write(f"run {run} was told to end\n")
    else:
        sys.stderr.write(f"run {run} is cancelled\n")
    return FAILED if done.missed else DONE
