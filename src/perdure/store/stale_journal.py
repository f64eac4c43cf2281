"""Whether a journal belongs to the state file beside it: SQLite does not ask, and plays it into whatever lies there."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from perdure.errors import StateCorrupt
from perdure.store.state_files import SET_ASIDE

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">4I")
_FRAME_HEADER = 24
PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Seconds between two looks at a file that seems too short."""
_MAGIC = (0x377F0682, 0x377F0683)
"""Of a write-ahead log, by the order of bytes in its checksums: https://sqlite.org/fileformat2.html#the_write_ahead_log"""


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


def _is_short(path: Path) -> bool:
    try:
        descriptor = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        page_size, count, logged = _pages(descriptor)
    finally:
        os.close(descriptor)
    if not count:
        return False
    # Looked at after the journal: what another process has written to the file meanwhile only makes it longer.
    there = os.stat(path).st_size // page_size
    return any(page not in logged for page in range(there + 1, count + 1))


def _pages(descriptor: int) -> tuple[int, int, set[int]]:
    """The size of a page, how many the database has after the last commit of the journal, and which the journal has."""
    header = os.pread(descriptor, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return 0, 0, set()
    magic, _, page_size, _, *salts, _, _ = _HEADER.unpack(header)
    if magic not in _MAGIC or page_size < 512:
        return 0, 0, set()
    count, logged, offset = 0, set[int](), _HEADER.size
    while len(frame := os.pread(descriptor, _FRAME.size, offset)) == _FRAME.size:
        page, size, *its = _FRAME.unpack(frame)
        if its != salts:  # of an earlier use of the journal
            break
        logged.add(page)
        count = size or count
        offset += _FRAME_HEADER + page_size
    return page_size, count, logged
