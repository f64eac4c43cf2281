"""`perdure prune`: runs that have ended long ago are removed, with all that is kept of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from perdure.core.durations import seconds
from perdure.engines.features import Feature
from perdure.operations.location import Location, opened, opened_for_change
from perdure.store import pruning
from perdure.store.pruning import Removed
from perdure.store.removal import remove_unused_artifacts

__all__ = ["Removed", "prune"]


def prune(
    location: Location,
    older: str,
    *,
    workflow: str | None = None,
    letters: bool = False,
    dry: bool = False,
    clock: Callable[[], float] = time.time,
) -> Removed:
    """Remove the runs that have ended so long ago, done or cancelled: never one that somebody can go on with.

    Args:
        location: the state file.
        older: a duration, such as "30d".
        workflow: those of this workflow only.
        letters: those with parked dead letters too.
        dry: only say what would be removed.
        clock: the time of day, in seconds since the epoch.

    Raises:
        UsageError: the location is a cluster.
        OptionError: that is no duration.
        NotFound: there is no state file.
        StateError: the file cannot be used.
    """
    location.require(Feature.STATE_FILE)
    before = clock() - seconds(older, option="--older")
    if dry:
        with opened(location) as store:
            return pruning.prune(store, before, workflow=workflow, letters=letters, dry=True)
    with opened_for_change(location) as store:
        found = pruning.prune(store, before, workflow=workflow, letters=letters, dry=False)
        unused, found.artifacts = found.artifacts, remove_unused_artifacts(store)
        found.later = len(set(unused).difference(found.artifacts))
        return found
