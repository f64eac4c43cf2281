"""The files of a state: one SQLite file and what lies beside it, which are used, refused and moved as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from perdure.config.os_errors import named
from perdure.config.ownership import make_private
from perdure.errors import StateCorrupt, StateReadOnly
from perdure.store.folder_sync import sync_folder

JOURNALS = ("-wal", "-journal")
"""What SQLite plays into the file when it is opened; without the file they belong to another one."""

BESIDE = (
    *(*JOURNALS, "-shm", "-locks", "-flight", "-alerts", "-artifacts", "-logs"),
    "-key",
    *("-services", "-services-wal", "-services-shm", "-spend", "-spend-wal", "-spend-shm"),
)
"""What lies beside a state file, by the end of its name."""

STAYS = ("-alerts",)
"""Alerts that were not delivered yet are sent by whatever runs next."""

SET_ASIDE = "`perdure doctor --set-aside` moves all of its files away, to begin without it"


def beside(state: Path) -> Iterator[tuple[str, Path]]:
    """What may lie beside a state file: the end of each name, and its path."""
    return ((suffix, state.with_name(state.name + suffix)) for suffix in BESIDE)


def copy_of(path: Path, version: int) -> Path:
    """Where the older file is kept while it is brought up to that version."""
    return path.with_name(f".{path.name}.before-version-{version}")


def orphans(state: Path) -> list[Path]:
    """Journals with something in them, beside a state file that is not there."""
    return [path for suffix, path in beside(state) if suffix in JOURNALS and _size(path)]


def traces(state: Path) -> list[Path]:
    """What says that a state file was in use, whatever is in it now."""
    return [path for suffix, path in beside(state) if suffix not in STAYS and os.path.lexists(path)]


def refuse_orphans(state: Path) -> None:
    """See that no journal of another file would be played into the one that is about to be made.

    Args:
        state: a state file that was not there a moment ago. Another process may have made it since, with a journal.

    Raises:
        StateCorrupt: there is one.
    """
    found = orphans(state)
    if found and not state.exists():
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
    folder = _new_folder(state, now)
    if not found:
        return folder, []
    try:
        make_private(folder)
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


def copy_aside(state: Path, now: float) -> Path:
    """Copy a state file and its journal; returns the new folder that they are in.

    Args:
        state: the state file; no connection of this process has it open, whose locks would be dropped.
        now: the time of day, in seconds since the epoch.

    Raises:
        DiskFull: the disk is full.
        StateError: it cannot be copied.
    """
    import shutil

    folder = _new_folder(state, now)
    try:
        make_private(folder)
        for path in (state, *(path for suffix, path in beside(state) if suffix in JOURNALS and path.exists())):
            with path.open("rb") as source, (folder / path.name).open("xb") as target:
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
    except OSError as error:
        raise named(error, folder) from error
    sync_folder(folder)
    return folder


def _new_folder(state: Path, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    return state.with_name(f"{state.name}.aside-{stamp}-{os.urandom(2).hex()}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
