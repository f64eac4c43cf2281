"""Moves a state file away with all that belongs to it, so that the next run begins anew: `doctor --set-aside`."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from perdure.engines.features import Feature
from perdure.errors import NotFound, StateBusy
from perdure.operations.location import Location
from perdure.store import liveness, state_files


class SetAside(msgspec.Struct, frozen=True):
    """What was moved: the state file and the files beside it, by their names, and the folder that they are in now."""

    folder: Path
    files: list[str]


def set_aside(location: Location) -> SetAside:
    """Move the state file there away. Nothing of it is read, so that it may be damaged.

    Raises:
        UsageError: the location is a cluster.
        NotFound: there is nothing.
        StateBusy: a process uses it.
        StateReadOnly: it cannot be moved.
    """
    location.require(Feature.STATE_FILE)
    state = location.path
    refuse_users(state)
    folder, files = state_files.set_aside(state, time.time())
    if not files:
        raise NotFound(f"there is no state file: {state} (by {location.source})", "name one: --state PATH")
    return SetAside(folder, files)


def refuse_users(state: Path) -> None:
    """See that no process executes runs of a state file.

    Raises:
        StateBusy: one does.
    """
    users = liveness.users(state)
    if users:
        raise StateBusy(
            f"the state file is used by a process that runs something: {state} (pid {users[0]})",
            "end it, or wait until it has ended, and try again",
        )
