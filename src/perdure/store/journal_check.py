"""Whether the write-ahead log beside a state file belongs to it, and is whole: SQLite asks for neither.

It plays a log into whatever file lies there, and takes the first frame whose checksum is wrong for the end of it. So a
damaged frame takes away all that was saved behind it, without a word. What a power cut leaves looks alike, up to here:
a commit waits for the disk before the next one is written, so no frame follows one that was lost.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import apsw

from perdure.errors import StateCorrupt
from perdure.store.connection import keep_journal, open_connection, patiently
from perdure.store.sqlite_errors import translated
from perdure.store.state_files import SET_ASIDE

PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Seconds between two looks at a file that seems too short."""

LOOKS = (0.0, 0.005, 0.02)
"""Seconds before each further look at a log that seems damaged."""

SKIP = "perdure doctor --skip-damaged"

_HEADER = struct.Struct(">8I")
_SALTS = 16
"""Where they are in the header; its checksum follows."""
_FRAME = struct.Struct(">6I")
_MAGIC = (0x377F0682, 0x377F0683)
"""The last bit says whether checksums go by big-endian words: https://sqlite.org/fileformat2.html#walformat"""
_SECTOR = 512
_AT_ONCE = 1 << 16
_FILE = 0
"""The file, as `Connection.read` numbers it."""

Sums = tuple[int, int]
T = TypeVar("T")


def refuse_stale_journal(path: Path) -> None:
    """See that the file is not shorter than what its journal builds on, as a backup is that was copied over it.

    The journal of a file that has grown has each page that the file has not got yet: it is emptied only after all of
    it was written to the file, and to the disk. A page that is in neither of them was cut off with the file.

    Args:
        path: the state file.

    Raises:
        StateCorrupt: the file is too short for its journal; nothing is changed.
        OSError: the journal cannot be read.
    """
    # Another process may write both while they are looked at: what is wrong then is not wrong a moment later.
    for pause in PAUSES:
        if not _is_short(path):
            return
        time.sleep(pause)
    raise StateCorrupt(
        f"the state file is shorter than its journal expects, as after a backup was copied over it: {path}",
        f"put back the file that {path.name}-wal was written beside; or {SET_ASIDE}, and then copy the backup to "
        f"{path}: a backup is used without a journal, or with its own",
    )


def refuse_damaged_journal(connection: apsw.Connection, path: Path) -> None:
    """See that SQLite finds the end of the journal where it was written to, and not at damage.

    Damage in the last commit looks like a commit that a power cut has interrupted, and passes as one.

    Args:
        connection: one that has read the file.
        path: the state file.

    Raises:
        StateCorrupt: what was saved behind the damage would be dropped; nothing is changed.
        OSError: the journal cannot be read.
    """
    if commits_behind_damage(connection, path):
        raise StateCorrupt(
            f"the journal of the state file is damaged; what was saved behind the damage cannot be read: {path}-wal",
            f"put back a backup of {path.name} and {path.name}-wal; or `{SKIP}` goes on with what was saved before the "
            "damage and keeps a copy: calls that were saved behind it are made again",
        )


def commits_behind_damage(connection: apsw.Connection, path: Path) -> int:
    """How many commits of the journal lie behind a damaged frame, as far as can be seen; 0 if it is not damaged.

    Args:
        connection: one that has read the file.
        path: the state file.

    Raises:
        OSError: the journal cannot be read.
    """
    looks = iter(LOOKS)
    while True:
        with _journal(path) as log:
            if log is None or (lost := log.lost_after(_counted(connection), connection)) is None:
                return 0
            # Another process may have written meanwhile: then SQLite counts the commit, or the log has begun anew.
            if _counted(connection) >= lost.number or log.header != log.read_header():
                continue
            # Or it writes still, over a commit of one that was killed before it was counted: a frame of which the
            # beginning was read before and the rest after that follows from nothing. Damage is there at each look.
            if (pause := next(looks, None)) is None:
                return lost.commits
            time.sleep(pause)


def damaged_commits(path: Path) -> int:
    """The same of a file that is not open yet.

    Raises:
        StateError: it is no state file that can be read.
    """
    return _opened(path, lambda connection: commits_behind_damage(connection, path))


def empty_journal(path: Path) -> None:
    """Play what SQLite reads of a journal into the file and begin it anew: what lies behind damage is given up.

    Args:
        path: the state file; no process uses it.

    Raises:
        StateError: it cannot be written to.
    """
    _opened(path, lambda connection: connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE))


def _opened(path: Path, look: Callable[[apsw.Connection], T]) -> T:
    with translated(path):
        connection = open_connection(path, "FULL")
        try:
            keep_journal(connection)
            connection.pragma("user_version")  # the first read finds the end of the journal
            return look(connection)
        finally:
            connection.close()


def _counted(connection: apsw.Connection) -> int:
    """The frames up to the last commit, as SQLite knows them; -1 of a file that has no log."""
    # Refused while another process writes the index of the log.
    counted, _ = patiently(lambda: connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_NOOP))
    return counted


class _Frame(NamedTuple):
    """`size`: the pages of the database after the commit that this frame ends; 0 of any other frame."""

    page: int
    size: int
    salts: tuple[int, int]
    sums: Sums


class _Lost(NamedTuple):
    """A commit that was on the disk, by the number of its last frame, and how many there are from the damage on."""

    number: int
    commits: int


class _Log:
    """A write-ahead log as it lies in the file. Frames are numbered from 1."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.header = self.read_header()
        magic, _, self.page_size, _, *salts, one, two = _HEADER.unpack(self.header.ljust(_HEADER.size, b"\0"))
        self.salts: Sums = (salts[0], salts[1])
        self._pace = _FRAME.size + self.page_size
        self._sums = (one, two)
        self._big = bool(magic & 1)
        self.is_log = magic in _MAGIC and self.page_size >= _SECTOR
        self._is_whole = self.is_log and self._fits(self.salts)

    def read_header(self) -> bytes:
        return os.pread(self._descriptor, _HEADER.size, 0)

    def frames(self, first: int = 1) -> Iterator[tuple[int, _Frame]]:
        """Number and header of each frame from the first one on, whatever use of the log it is of."""
        number = first
        while frame := self._frame(number):
            yield number, frame
            number += 1

    def lacks_pages_of(self, path: Path, *, check: bool) -> bool:
        """Whether a page is neither in the log nor in that file, which has it after the last commit.

        Args:
            path: the state file.
            check: take frames only up to the first one whose checksum is wrong, as SQLite does.
        """
        count, logged = 0, set[int]()
        before = self._sums
        for number, frame in self.frames():
            if frame.salts != self.salts or (check and self._sums_with(number, before) != frame.sums):
                break  # of an earlier use of the journal, or damaged
            before = frame.sums
            logged.add(frame.page)
            count = frame.size or count
        there = os.stat(path).st_size // self.page_size
        return any(page not in logged for page in range(there + 1, count + 1))

    def lost_after(self, counted: int, connection: apsw.Connection) -> _Lost | None:
        """What says that SQLite's end of the log, after so many frames, is not where it was written to.

        A frame that was written after a commit which SQLite does not count: the commit was on the disk before that.

        Args:
            counted: how many frames SQLite counts.
            connection: which has said so.
        """
        if counted < 0 or len(self.header) < _HEADER.size:
            return None
        if not counted and not self._is_whole:
            return self._behind_damaged_header(connection)
        before = self._sums_of(counted)
        for number, frame in self.frames(counted + 1):
            sums = self._sums_with(number, before)
            if frame.salts != self.salts or frame.sums != sums or not frame.page:
                return self._after_damage(number, frame, sums)
            if frame.size:  # another process has written it, or is about to begin the log anew: SQLite reads it now
                return None
            before = sums
        return None

    def _behind_damaged_header(self, connection: apsw.Connection) -> _Lost | None:
        """All of the log: its header is on the disk before the first frame is written, and it is not what was written.

        Where the log begins anew the header is written over, when all that lies behind it is in the file.
        """
        self.page_size, self._big = connection.pragma("page_size"), sys.byteorder == "big"
        self._pace = _FRAME.size + self.page_size
        if self._is_filled():
            return None
        pages = self._committed_pages()
        if pages and all(self._page(number) == self._stored(connection, page) for page, number in pages.items()):
            return None
        salts = [frame.salts for _, frame in self.frames() if frame.salts[0] != frame.salts[1]]
        self.salts = max(salts, key=salts.count, default=self.salts)
        return _Lost(1, self._commits(1))

    def _is_filled(self) -> bool:
        """Is one byte repeated behind the header? A file system has filled what was not written, with zeros mostly."""
        place, filler = _HEADER.size, os.pread(self._descriptor, 1, _HEADER.size)
        while found := os.pread(self._descriptor, _AT_ONCE, place):
            if found.count(filler) != len(found):
                return False
            place += len(found)
        return True

    def _committed_pages(self) -> dict[int, int]:
        """The last frame of each page, up to the last commit of the frames that follow from the first one."""
        committed: dict[int, int] = {}
        pages: dict[int, int] = {}
        salts, before = None, (0, 0)
        for number, frame in self.frames():
            if number > 1 and (frame.salts != salts or self._sums_with(number, before) != frame.sums):
                break
            salts, before = frame.salts, frame.sums
            pages[frame.page] = number
            if frame.size:
                committed = {page: last for page, last in pages.items() if page <= frame.size}
        return committed

    def _stored(self, connection: apsw.Connection, page: int) -> bytes:
        """A page as the file has it, read through SQLite: to close the file would drop its locks."""
        whole, data = connection.read("main", _FILE, (page - 1) * self.page_size, self.page_size)
        return data if whole else b""

    def _page(self, number: int) -> bytes:
        return os.pread(self._descriptor, self.page_size, _HEADER.size + (number - 1) * self._pace + _FRAME.size)

    def _after_damage(self, damaged: int, frame: _Frame, sums: Sums) -> _Lost | None:
        """The first commit from a damaged frame on after which another frame was written.

        Args:
            damaged: its number.
            frame: its header, as far as it can be believed.
            sums: what its checksum has to be, if all else of it is as it was written.
        """
        # A sector is written as a whole: what this one says is what was written with its checksum, or is damage.
        is_commit = frame.size and (damaged - 1) * self._pace % _SECTOR <= _SECTOR - _FRAME.size - _HEADER.size
        ends: list[Sums] = [frame.sums, sums] if is_commit else [sums] if frame.size else []
        former, before = frame, frame.sums
        for number, following in self.frames(damaged + 1):
            # Most of what lies here is of earlier uses of the log, and a sum takes as long as a thousand looks.
            if following.salts == self.salts:
                if former is not frame:  # only a commit that follows from what lies before it is believed to be one
                    is_commit = former.size and self._sums_with(number - 1, before) == former.sums
                    ends = [former.sums] if is_commit else []
                if any(self._sums_with(number, end) == following.sums for end in ends):
                    return _Lost(number - 1, self._commits(damaged))
            before, former = former.sums, following
        return None

    def _commits(self, first: int) -> int:
        ends = (frame.size > 0 for _, frame in self.frames(first) if frame.salts == self.salts)
        return max(1, sum(ends))  # one that was there, even if it cannot be seen any more

    def _frame(self, number: int) -> _Frame | None:
        found = os.pread(self._descriptor, _FRAME.size, _HEADER.size + (number - 1) * self._pace)
        if len(found) < _FRAME.size:
            return None
        page, size, *salts, one, two = _FRAME.unpack(found)
        return _Frame(page, size, (salts[0], salts[1]), (one, two))

    def _sums_of(self, number: int) -> Sums:
        frame = self._frame(number) if number else None
        return self._sums if frame is None else frame.sums

    def _sums_with(self, number: int, before: Sums) -> Sums:
        """The checksum that a frame has to have, after one with that checksum."""
        data = os.pread(self._descriptor, self._pace, _HEADER.size + (number - 1) * self._pace)
        return self._summed(data[:8] + data[_FRAME.size :], before)

    def _fits(self, salts: Sums) -> bool:
        """Does the header's checksum match it, if those are its salts?"""
        return self._summed(self.header[:_SALTS] + struct.pack(">2I", *salts), (0, 0)) == self._sums

    def _summed(self, data: bytes, before: Sums) -> Sums:
        words = struct.unpack(f"{'>' if self._big else '<'}{len(data) // 4}I", data[: len(data) // 4 * 4])
        one, two = before
        for even, odd in zip(words[::2], words[1::2], strict=False):
            one = (one + even + two) & 0xFFFFFFFF
            two = (two + odd + one) & 0xFFFFFFFF
        return one, two


@contextmanager
def _journal(path: Path) -> Iterator[_Log | None]:
    """The log beside a state file, if there is one."""
    try:
        descriptor = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield _Log(descriptor)
    finally:
        os.close(descriptor)


def _is_short(path: Path) -> bool:
    with _journal(path) as log:
        if log is None or not log.is_log:
            return False
        # Looked at after the journal: what another process has written to the file meanwhile only makes it longer.
        # What each frame says is checked only if it matters, since that takes as long as to read the journal.
        return all(log.lacks_pages_of(path, check=check) for check in (False, True))
