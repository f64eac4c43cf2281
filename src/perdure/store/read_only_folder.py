"""State files in folders that cannot be written to: looked at as a copy.

To read a file with a write-ahead log, SQLite makes an index beside it (`-shm`). Where it cannot, the log would be
passed over, or nothing be read at all. Without that index nobody has the file open, so that it can be copied as it
lies there, with its log. If somebody has, the index is there, and SQLite itself reads the file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import apsw

from perdure.core.sizes import show_size
from perdure.errors import StateReadOnly

MOST = 512 * 1024 * 1024
"""Bytes that are copied."""
_TRIES = 3
_WAY = "name a copy of the file, with its -wal, in a folder that can be written to: --state FILE"
_BESIDE = ("", "-wal", "-journal")


def copied(path: Path, opened: Callable[[Path], apsw.Connection]) -> apsw.Connection | None:
    """A copy of the file as it is at this moment; None if the file itself can be read.

    Args:
        path: the state file.
        opened: opens the copy, whose files are gone when it returns.

    Raises:
        StateReadOnly: it is too large to be copied, or there is no room for it.
        StateError: the copy is no sound state file.
    """
    for _ in range(_TRIES):
        if os.path.lexists(f"{path}-shm"):
            return None
        before = _stamps(path)
        size = sum(each[0] for each in before.values())
        if size > MOST:
            raise StateReadOnly(
                f"the folder of the state file is read-only, and the file is too large to be copied for reading "
                f"({show_size(size)} of at most {show_size(MOST)}): {path}",
                _WAY,
            )
        try:
            with tempfile.TemporaryDirectory(prefix="perdure-") as folder:
                copy = Path(folder, path.name)
                for suffix in before:
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
                if _stamps(path) == before and not os.path.lexists(f"{path}-shm"):
                    return opened(copy)
        except OSError as error:
            raise StateReadOnly(
                "the folder of the state file is read-only, and the file cannot be copied for reading: "
                f"{path} ({error.strerror})",
                _WAY,
            ) from error
    return None


def _stamps(path: Path) -> dict[str, tuple[int, int]]:
    """The sizes and times of the files that are there."""
    found = {}
    for suffix in _BESIDE:
        try:
            status = os.stat(f"{path}{suffix}")
        except FileNotFoundError:
            continue
        found[suffix] = (status.st_size, status.st_mtime_ns)
    return found
