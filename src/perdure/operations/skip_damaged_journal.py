"""Goes on without what lies behind damage in the journal of a state file, or all of it: `doctor --skip-damaged`."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from perdure.engines.features import Feature
from perdure.errors import NotFound
from perdure.operations.location import Location
from perdure.operations.set_aside import refuse_users
from perdure.store import journal_check, lost_journal, state_files


class SkippedJournal(msgspec.Struct, frozen=True):
    """How many commits were given up, as far as can be seen, and the folder that a copy of the files is in.

    `gone`: the journal was removed or emptied, so that nothing of it can be seen.
    """

    commits: int
    folder: Path
    gone: bool = False


def skip_damaged_journal(location: Location) -> SkippedJournal:
    """Play what was saved before the damage into the state file, and begin a new journal, after both were copied.

    Raises:
        UsageError: the location is a cluster.
        NotFound: there is no state file, or its journal is neither damaged nor gone.
        StateBusy: a process uses it.
        StateError: it cannot be copied, or not be written to.
    """
    location.require(Feature.STATE_FILE)
    state = location.path
    refuse_users(state)
    if not state.is_file():
        raise NotFound(f"there is no state file: {state} (by {location.source})", "name one: --state PATH")
    gone = lost_journal.lost_frames(state) > 0
    commits = 1 if gone else journal_check.damaged_commits(state)
    if not commits:
        raise NotFound(
            f"the journal of the state file is not damaged: {state}",
            "see `perdure doctor` for what else is wrong; `perdure cancel RUN --skip-damaged` ends a damaged run",
        )
    folder = state_files.copy_aside(state, time.time())
    journal_check.empty_journal(state)
    return SkippedJournal(commits, folder, gone)
