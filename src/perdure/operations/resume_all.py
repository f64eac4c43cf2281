"""`perdure resume --all` and `cancel --all`: every unfinished run that is meant, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from perdure.config.interpreter import module_command
from perdure.config.script_identity import script_identity
from perdure.engines.features import Feature
from perdure.errors import NotFound
from perdure.operations.location import Location
from perdure.operations.ps import RunFilter, each_run
from perdure.operations.run_views import RunView, Standing, view_of
from perdure.store.damaged_rows import if_sound
from perdure.store.runs import Store

Unfinished = Literal["failed", "interrupted", "parked"]
Ending = Literal["failed", "interrupted", "parked", "queued", "suspended", "running"]
"""How a run stands that can be cancelled."""

USUAL: Final[tuple[Unfinished, ...]] = ("failed", "interrupted")
"""A parked run has failed too often already, so it is gone on with only when that is asked for."""


class Wanted(msgspec.Struct, frozen=True):
    """Which runs are gone on with, or cancelled.

    Attributes:
        script: those of this script only.
        status: how they stand.
        workflow: those of this workflow only.
        older: seconds since each of them last moved, at least.
        text: those with this in their id or their inputs only.
    """

    script: Path | None = None
    status: tuple[Unfinished | Ending, ...] = USUAL
    workflow: str | None = None
    older: float = 0.0
    text: str | None = None


class Chosen(NamedTuple):
    """The runs that are wanted, the oldest first, and those that may be, but are damaged."""

    runs: list[RunView]
    damaged: list[RunView]


def unfinished(store: Store, location: Location, wanted: Wanted, now: float) -> Chosen:
    """The runs that are wanted; child runs go on with their parents.

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
    found: list[RunView] = []
    damaged: dict[str, RunView] = {}
    for status in dict.fromkeys(wanted.status):
        for view in each_run(store, RunFilter(status, wanted.workflow, text=wanted.text, damaged=True)):
            is_damaged = view.status == "damaged"
            unknown = is_damaged and not view.script
            if wanted.script is not None and not unknown and not _is_of(store, view, wanted.script, location):
                continue
            if is_damaged:
                damaged[view.id] = view
            elif now - _moved(view) >= wanted.older:
                found.append(view)
    return Chosen(sorted(found, key=lambda view: (view.created or _LONG_AGO, view.id)), list(damaged.values()))


_LONG_AGO = datetime.fromtimestamp(0, UTC)


def _is_of(store: Store, view: RunView, script: Path, location: Location) -> bool:
    if os.path.realpath(view.script) == os.path.realpath(script):
        return True
    if not location.supports(Feature.STATE_FILE):
        return False
    return store.run(view.id).script == script_identity(str(script), location.path)


def _moved(view: RunView) -> float:
    """When it last did something, in seconds since the epoch."""
    if view.ended is not None:
        return view.ended.timestamp()
    created = (view.created or _LONG_AGO).timestamp()
    return max((view.started or _LONG_AGO).timestamp(), created + (view.seconds or 0.0))


def resume_each(
    runs: Sequence[RunView],
    location: Location,
    script: Path | None,
    options: Sequence[str],
    command: Literal["resume", "cancel"] = "resume",
) -> Iterator[int]:
    """Go on with one after the other, or cancel it; yields the exit code of each.

    A script may end its process, or be killed: the others go on all the same.

    Args:
        runs: which.
        location: where they are kept.
        script: where their script is, if it was named.
        options: what the command is given besides.
        command: which.
    """
    where = ["--engine", location.engine]
    if location.supports(Feature.STATE_FILE):
        where += ["--state", str(location.path)]
    file = [] if script is None else [str(script)]
    for run in runs:
        words = module_command("perdure.cli", command, *options, *where, "--", run.id, *file)
        process = subprocess.Popen(words)
        try:
            yield process.wait()
        finally:
            process.wait()  # Ctrl-C is the run's as well, which ends in its own way


def standings(store: Store, runs: Sequence[RunView]) -> list[Standing]:
    """How runs stand now."""
    damaged: Standing = "damaged"

    def now(id: str) -> Standing:
        return view_of(store, store.run(id)).status

    return [if_sound(partial(now, each.id), lambda: damaged) for each in runs]
