"""Sees whether a state file that is open is still the one of that name, and as long as SQLite has made it.

Whatever removes, exchanges or empties a file under a process that has it open goes unnoticed by SQLite: it saves on,
into a file without a name, or plays its journal into one that lacks the pages of before.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic

import apsw

from perdure.errors import StateReplaced

LOOK_AGAIN = 0.01
"""Seconds. A call of stat(2) costs a step in a loop some percent, and nothing once in that time."""

_FILE, _JOURNAL = 0, 1
_COOKIE = (40, 4)
"""Where in the file the number of its schema stands. A VACUUM raises it; nothing else of SQLite's shortens the file."""

_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""What a write-ahead log begins with."""


class Watch:
    """Looks at a state file, before what relies on it.

    Args:
        path: the state file, which has just been opened.
        connection: to it.
    """

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._name = str(path)
        self._connection = connection
        self._due = 0.0
        found = _status(self._name)
        self._identity = _identity(found)
        self._size = 0 if found is None else found.st_size
        self._cookie = self._read(_FILE, *_COOKIE)
        self._journal: tuple[int, int] | None = None
        self._begun = False  # the journal: it was seen to begin with its mark

    def look(self, *, always: bool) -> None:
        """Look, if that is due.

        Raises:
            StateReplaced: the file or its journal was removed, exchanged for another, or emptied.
        """
        now = monotonic()
        if not always and now < self._due:
            return
        self._due = now + LOOK_AGAIN
        trouble = self.trouble()
        if trouble is not None:
            raise trouble

    def trouble(self) -> StateReplaced | None:
        """What happened to the file or its journal; None if they are as SQLite has left them."""
        found, journal = _status(self._name), _status(f"{self._name}-wal")
        if found is None or _identity(found) != self._identity:
            return self._exchanged()
        if self._journal is None:
            self._journal = _identity(journal)
        if _identity(journal) != self._journal:
            return self._exchanged()
        if found.st_size < self._size and not self._vacuumed() and not self._is_as_long_as_known(found.st_size):
            return self._shortened(self._path, found.st_size)
        self._size = found.st_size
        if (
            journal is not None and journal.st_size
        ):  # a checkpoint may have emptied it, and what is next begins with a mark
            marked = self._read(_JOURNAL, 0, 4) in _MAGIC
            if self._begun and not marked:
                return self._shortened(Path(f"{self._name}-wal"), 0)
            self._begun = marked
        return None

    def _vacuumed(self) -> bool:
        cookie = self._read(_FILE, *_COOKIE)
        if cookie in (b"", self._cookie):
            return False
        self._cookie = cookie
        return True

    def _is_as_long_as_known(self, size: int) -> bool:
        """Has SQLite cut off what lay behind the pages that it knows, as a checkpoint does?"""
        try:
            known: int = self._connection.pragma("page_count") * self._connection.pragma("page_size")
        except apsw.Error:
            return False
        return size == known

    def _read(self, which: int, offset: int, amount: int) -> bytes:
        """Bytes of the file as they lie there; empty if it is too short."""
        try:
            whole, data = self._connection.read("main", which, offset, amount)
        except apsw.Error:
            return b""
        return data if whole else b""

    def _exchanged(self) -> StateReplaced:
        return StateReplaced(
            f"the state file was removed or replaced while this process used it: {self._path}",
            f"end what still runs, put all of {self._path.name}* back if that was a mistake, and run again",
        )

    def _shortened(self, path: Path, size: int) -> StateReplaced:
        how = "shortened" if size else "emptied"
        return StateReplaced(
            f"a file of the state was {how} while this process used it: {path}; nothing more is written",
            f"end what still runs, restore a backup of all of {self._path.name}*, or run `perdure doctor --set-aside` "
            f"to start over, which keeps what is left: {self._path.name}-wal holds what was saved last",
        )


def _status(name: str) -> os.stat_result | None:
    try:
        return os.stat(name)
    except OSError:
        return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_dev, found.st_ino)
