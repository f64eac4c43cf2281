"""`perdure resume --all`: goes on with every unfinished run that no process executes, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from perdure.config.interpreter import module_command
from perdure.config.script_identity import script_identity
from perdure.core.records import RunRecord
from perdure.engines.features import Feature
from perdure.errors import NotFound
from perdure.operations.location import Location
from perdure.operations.ps import MANY, RunView, Standing, view_of
from perdure.store.runs import Store

Unfinished = Literal["failed", "interrupted", "parked"]

USUAL: Final[tuple[Unfinished, ...]] = ("failed", "interrupted")
"""A parked run has failed too often already, so it is gone on with only when that is asked for."""

_WRITTEN: Final[dict[Unfinished, str]] = {"interrupted": "running"}


class Wanted(msgspec.Struct, frozen=True):
    """Which runs are gone on with.

    Attributes:
        script: those of this script only.
        status: how they stand.
        workflow: those of this workflow only.
        older: seconds since each of them last moved, at least.
    """

    script: Path | None = None
    status: tuple[Unfinished, ...] = USUAL
    workflow: str | None = None
    older: float = 0.0


def unfinished(store: Store, location: Location, wanted: Wanted, now: float) -> list[RunView]:
    """The runs that are wanted, the oldest first; child runs go on with their parents.

    Args:
        store: what is kept there.
        location: where that is.
        wanted: which.
        now: seconds since the epoch.

    Raises:
        NotFound: there is no such script.
        StateError: the file cannot be read.
    """
    if wanted.script is not None and not wanted.script.is_file():
        raise NotFound(f"there is no script {wanted.script}", "name the file whose runs are to go on")
    found = []
    for status in wanted.status:
        for run in store.runs(status=_WRITTEN.get(status, status), workflow=wanted.workflow, most=MANY):
            if wanted.script is None or _is_of(run, wanted.script, location):
                view = view_of(store, run)
                if view.status == status and now - _moved(run, view) >= wanted.older:
                    found.append((run.created, run.rid, view))
    return [view for _, _, view in sorted(found, key=lambda each: each[:2])]


def _is_of(run: RunRecord, script: Path, location: Location) -> bool:
    if os.path.realpath(run.path) == os.path.realpath(script):
        return True
    return location.supports(Feature.STATE_FILE) and run.script == script_identity(str(script), location.path)


def _moved(run: RunRecord, view: RunView) -> float:
    """When it last did something, in seconds since the epoch."""
    return run.ended if run.ended is not None else max(run.started, run.created + (view.seconds or 0.0))


def resume_each(
    runs: Sequence[RunView], location: Location, script: Path | None, options: Sequence[str]
) -> Iterator[int]:
    """Go on with one after the other; yields the exit code of each.

    A script may end its process, or be killed: the others go on all the same.

    Args:
        runs: which.
        location: where they are kept.
        script: where their script is, if it was named.
        options: what `perdure resume` is given besides.
    """
    where = ["--engine", location.engine]
    if location.supports(Feature.STATE_FILE):
        where += ["--state", str(location.path)]
    file = [] if script is None else [str(script)]
    for run in runs:
        command = module_command("perdure.cli", "resume", *options, *where, "--", run.id, *file)
        process = subprocess.Popen(command)
        try:
            yield process.wait()
        finally:
            process.wait()  # Ctrl-C is the run's as well, which ends in its own way


def standings(store: Store, runs: Sequence[RunView]) -> list[Standing]:
    """How runs stand now."""
    return [view_of(store, store.run(each.id)).status for each in runs]
