"""The JSON Lines file that dead letters are also appended to (WORKFLOW_DLQ_PATH).

Any number of processes, on any number of state files, may append to one file: each holds its flock meanwhile. Which
letters are due says the state file; that one is marked as appended after the file was fsynced, so a process that dies
between the two leaves a letter that is due and in the file. The next process finds its id there and only marks it.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

import msgspec

from perdure.config.file_locks import lock_descriptor
from perdure.config.ownership import make_file, stranger
from perdure.config.secrets import redactor
from perdure.config.steady_clock import steady
from perdure.core.dead_letters import LetterDetails, describe
from perdure.core.letter_record import LetterRecord
from perdure.store import dead_letters
from perdure.store.folder_sync import sync_folder
from perdure.store.runs import Store

PATIENCE = 10.0
"""Seconds to wait for another process that appends: a write takes milliseconds, but a stopped one keeps its lock."""

PORTION = 1 << 20
_BEGINNING = b'{"id":"'


class LetterFile:
    """The file, as one process appends to it.

    Args:
        path: where it is; made (0600) if it is missing.
        store: the state file whose letters are appended.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self._store = store
        self._lock = threading.Lock()
        self._identity: tuple[int, int] | None = None
        self._seen = 0  # what comes before this in the file concerns no letter that is due

    def catch_up(self) -> int:
        """Append every letter of the state file that is due; returns how many were appended.

        Raises:
            OSError: the file cannot be written; what is due stays so.
            StateError: the state file cannot be used.
        """
        with self._lock, _locked(self.path) as descriptor:
            return self._append_due(descriptor)

    def _append_due(self, descriptor: int) -> int:
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        if identity != self._identity or status.st_size < self._seen:
            self._identity, self._seen = identity, 0
        due = dead_letters.due(self._store)  # read under the lock: who had it before has marked what it appended
        if due:
            views = [letter_details(self._store, letter) for letter in due]
            found = _ids(descriptor, self._seen, {one.id for one in views})
            lines = [msgspec.json.encode(one) + b"\n" for one in views if one.id not in found]
            if lines:
                _write(descriptor, status.st_size, b"".join(lines))
            else:
                os.fsync(descriptor)  # the process that wrote them may have died before this
            dead_letters.mark_exported(self._store, [letter.lid for letter in due])
            self._seen = os.fstat(descriptor).st_size
            return len(lines)
        self._seen = status.st_size
        return 0


def letter_details(store: Store, letter: LetterRecord) -> LetterDetails:
    """All about a letter, with what the state file knows of its run and its call."""
    run = store.run_by_number(letter.run)
    if not letter.seq:
        return describe(letter, run, None, (), redactor())
    record = store.record(letter.run, letter.seq)
    return describe(letter, run, record, store.attempts_of(letter.run, record.name, record.key, record.n), redactor())


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    made = not os.path.exists(path)
    try:
        descriptor = make_file(path, os.O_RDWR | os.O_APPEND)
    except OSError as error:
        if os.path.islink(path):  # where it leads may be another user's choice
            raise OSError(errno.ELOOP, f"it is a link, to {os.readlink(path)}: name the file itself") from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a regular file")
        if other := stranger(found):
            raise PermissionError(errno.EPERM, f"it belongs to {other}")
        _patiently(lambda: lock_descriptor(descriptor))
        if made:
            sync_folder(path.absolute().parent)
        yield descriptor
    finally:
        os.close(descriptor)  # lets go of the lock too


def _patiently(take: Callable[[], bool]) -> None:
    until = steady() + PATIENCE
    while not take():
        if steady() > until:
            raise OSError(f"another process has kept it locked for {PATIENCE:.0f} s")
        time.sleep(0.005)


def _ids(descriptor: int, start: int, wanted: Set[str]) -> set[str]:
    """Which of the letters are in the file, from `start` on; whole, with or without the end of the line."""
    found: set[str] = set()
    rest = b""
    while portion := os.pread(descriptor, PORTION, start):
        start += len(portion)
        *lines, rest = (rest + portion).split(b"\n")
        found.update(id for line in lines if (id := _id(line, wanted)))
    return found | ({id} if (id := _id(rest, wanted)) else set())


def _id(line: bytes, wanted: Set[str]) -> str | None:
    if not line.startswith(_BEGINNING):
        return None
    id = line[len(_BEGINNING) :].partition(b'"')[0].decode("ascii", "replace")
    try:
        return id if id in wanted and msgspec.json.decode(line) else None
    except msgspec.DecodeError:  # torn
        return None


def _write(descriptor: int, size: int, content: bytes) -> None:
    """Append in a single write. A last line that a death has torn is closed first, so that ours begins anew."""
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        content = b"\n" + content
    if os.write(descriptor, content) != len(content):
        raise OSError("no space is left on its device")
    os.fsync(descriptor)
