"""The files of a state: one SQLite file and what lies beside it, which are used, refused and moved as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from perdure.errors import StateCorrupt, StateReadOnly, StateReplaced
from perdure.store.sync import sync_folder

JOURNALS = ("-wal", "-journal")
"""What SQLite plays into the file when it is opened; without the file they belong to another one."""

BESIDE = (
    *(*JOURNALS, "-shm", "-locks", "-flight", "-alerts", "-artifacts"),
    *("-services", "-services-wal", "-services-shm", "-spend", "-spend-wal", "-spend-shm"),
)
"""What lies beside a state file, by the end of its name."""

STAYS = ("-alerts",)
"""Alerts that were not delivered yet are sent by whatever runs next."""

LOOK_AGAIN = 0.01
"""Seconds. A call of stat(2) costs a step in a loop some percent, and nothing once in that time."""

SET_ASIDE = "`perdure doctor --set-aside` moves all of its files away, to begin without it"


def beside(state: Path) -> Iterator[tuple[str, Path]]:
    """What may lie beside a state file: the end of each name, and its path."""
    return ((suffix, state.with_name(state.name + suffix)) for suffix in BESIDE)


def orphans(state: Path) -> list[Path]:
    """Journals with something in them, beside a state file that is not there."""
    return [path for suffix, path in beside(state) if suffix in JOURNALS and _size(path)]


def traces(state: Path) -> list[Path]:
    """What says that a state file was in use, whatever is in it now."""
    return [path for suffix, path in beside(state) if suffix not in STAYS and os.path.lexists(path)]


def refuse_orphans(state: Path) -> None:
    """See that no journal of another file would be played into the one that is about to be made.

    Raises:
        StateCorrupt: there is one.
    """
    found = orphans(state)
    if found:
        raise StateCorrupt(
            f"the state file is gone, but its journal is still there: {found[0]}",
            f"put {state.name} back beside it: it holds what was saved last; or {SET_ASIDE}",
        )


def set_aside(state: Path, now: float) -> tuple[Path, list[str]]:
    """Move a state file away with all that belongs to it; returns the new folder, and the names of what is in it.

    The state file goes first: should the process die in between, the journal that is left is refused by what comes
    next (`refuse_orphans`), rather than the file being used without it.

    Args:
        state: the state file; it may be missing.
        now: the time of day, in seconds since the epoch.

    Raises:
        StateReadOnly: it cannot be moved.
    """
    names = [state, *(path for suffix, path in beside(state) if suffix not in STAYS)]
    found = [path for path in names if os.path.lexists(path)]
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    folder = state.with_name(f"{state.name}.aside-{stamp}-{os.urandom(2).hex()}")
    if not found:
        return folder, []
    try:
        folder.mkdir(mode=0o700)
        sync_folder(folder)
        for path in found:
            path.rename(folder / path.name)
        sync_folder(folder)
    except OSError as error:
        raise StateReadOnly(
            f"the state file cannot be moved: {state} ({error.strerror})",
            f"check the permissions of its folder; what was moved already is in {folder}",
        ) from error
    return folder, [path.name for path in found]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Watch:
    """Sees whether a state file that is open is still the one of that name.

    Args:
        path: the state file, which has just been opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = str(path)
        self._identity = self._now()
        self._journal: tuple[int, int] | None = None
        self._due = 0.0

    def look(self, *, always: bool) -> None:
        """Look, if that is due.

        Raises:
            StateReplaced: the file or its journal was removed, or exchanged for another.
        """
        now = monotonic()
        if not always and now < self._due:
            return
        self._due = now + LOOK_AGAIN
        if not self.is_there():
            raise StateReplaced(
                f"the state file was removed or replaced while this process used it: {self._path}",
                f"end what still runs, put all of {self._path.name}* back if that was a mistake, and run again",
            )

    def is_there(self) -> bool:
        """Is it the same file still, and its journal too?"""
        if self._now() != self._identity:
            return False
        journal = self._identity_of(f"{self._name}-wal")
        if self._journal is None:
            self._journal = journal
        return journal == self._journal

    def _now(self) -> tuple[int, int] | None:
        return self._identity_of(self._name)

    @staticmethod
    def _identity_of(name: str) -> tuple[int, int] | None:
        try:
            found = os.stat(name)
        except OSError:
            return None
        return found.st_dev, found.st_ino
