"""Whether a state file has lost its write-ahead log: SQLite takes a file without one for whole.

A log is emptied only after all of it was written to the file. So what else speaks of commits that are in neither says
that the log was removed, or that the file was copied without it: the index of the log, which outlives a killed process
as the log does, and what processes leave beside the file.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import apsw

from perdure.config.ownership import NO_LINK
from perdure.errors import StateCorrupt
from perdure.store.flight_record import Flight, runs_named
from perdure.store.journal_check import PAUSES, SKIP
from perdure.store.sessions import is_any_open

_INDEX = struct.Struct("=3I2BH8I")
"""Version, unused, changes, ready, order of bytes, page size, frames, pages, sums and salts. It is there twice:
https://sqlite.org/walformat.html#walidxfmt"""
_READY, _FRAMES = 3, 6
_STORED_AT = 2 * _INDEX.size
_STORED = struct.Struct("=I")
"""How many of the frames were written to the file."""

_kept: dict[tuple[int, int], int] = {}
"""Descriptors of indexes that were looked at: to close one would drop the locks that SQLite has of this process."""


def refuse_lost_journal(path: Path) -> None:
    """See that a journal that is empty, or not there, is not one that was emptied or removed.

    Args:
        path: the state file.

    Raises:
        StateCorrupt: frames were written that are not in the file; nothing is changed.
        OSError: the index cannot be read.
    """
    # Another process may begin or end the journal while both are looked at.
    for pause in (*PAUSES, None):
        lost = lost_frames(path)
        if not lost:
            return
        if pause is not None:
            time.sleep(pause)
    raise StateCorrupt(
        f"the journal of the state file is gone, and with it what was saved last: {path}-wal",
        f"put {path.name}-wal back as it was, or a backup of {path.name} and {path.name}-wal; or (also if {path.name} "
        f"is a backup that was put here alone) `{SKIP}` goes on with what is in {path.name} and keeps a copy: calls "
        "that were saved in the journal are made again",
    )


def lost_frames(path: Path) -> int:
    """How many frames were written that are neither in the file nor in its journal; 0 if the journal is there."""
    try:
        found = os.stat(f"{path}-shm")
        if found.st_size < _STORED_AT + _STORED.size or _size(path) > 0:
            return 0
        descriptor = _kept.get((found.st_dev, found.st_ino))
        if descriptor is None:
            _let_go()
            descriptor = os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC | NO_LINK)
            _kept[found.st_dev, found.st_ino] = descriptor
    except FileNotFoundError:
        return 0
    index = os.pread(descriptor, _STORED_AT + _STORED.size, 0)
    one, other = index[: _INDEX.size], index[_INDEX.size : _STORED_AT]
    fields = _INDEX.unpack(one)
    if one != other or not fields[_READY]:  # it is being written, or was never
        return 0
    (stored,) = _STORED.unpack_from(index, _STORED_AT)
    return int(max(fields[_FRAMES] - stored, 0))


def unknown_to(connection: apsw.Connection, dead: list[Flight]) -> list[str]:
    """Of dead processes that have executed runs with a state file: a line for each that the file knows nothing of.

    A process is in the file before its first run begins, for good.
    """
    lines = []
    for one in dead:
        known = connection.execute("SELECT 1 FROM holder WHERE token = ?", (one.token,)).fetchone()
        runs = [] if known else runs_named(one.path)
        if runs:
            lines.append(
                f"process {one.pid}, which has died, executed run {runs[0]} with this state file, and the file knows "
                "neither: it is another file, or its journal (-wal) was removed; what was saved there is made again"
            )
    return lines


def copied_alone(connection: apsw.Connection, path: Path) -> str:
    """A line on a file beside which nothing lay, if it says that something has to; empty if it does not.

    Args:
        connection: to the file.
        path: of it.
    """
    used = connection.execute("SELECT 1 FROM holder LIMIT 1").fetchone() is not None
    if used and not is_any_open(connection):
        return ""
    says = "says that a run is being executed" if used else "holds no run"
    return (
        f"{path} {says}, and nothing of a process lies beside it: if it was copied without {path.name}-wal, what was "
        "saved last is missing, and made again (a copy that SQLite has made is whole)"
    )


def _let_go() -> None:
    """Close those of files that were removed since: nothing uses them any more."""
    for key, descriptor in list(_kept.items()):
        if os.fstat(descriptor).st_nlink == 0:
            del _kept[key]
            os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0
