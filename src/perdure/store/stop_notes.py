"""Why a run was left, beside the state file: for when that cannot be written, since its disk is full, say.

One small file for a run. It is gone when the run is taken again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from perdure.config.ownership import make_file, make_folder
from perdure.core.digests import blake2b

LONGEST = 1 << 20
"""Bytes of a note that are read."""


def put(state: Path, run: str, stopped: bytes) -> bool:
    """Write a note; returns whether that could be done.

    Args:
        state: the state file.
        run: the id of the run.
        stopped: why it was left, packed.
    """
    path = _path(state, run)
    try:
        make_folder(path.parent)
        path.unlink(missing_ok=True)
        with open(make_file(path, os.O_EXCL | os.O_WRONLY), "wb") as file:
            file.write(crc32(stopped).to_bytes(4, "big") + stopped)
    except OSError:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return False
    return True


def get(state: Path, run: str) -> bytes | None:
    """The note of a run; None if there is none that is whole."""
    try:
        with _path(state, run).open("rb") as file:
            data = file.read(LONGEST)
    except OSError:
        return None
    return data[4:] if len(data) > 4 and crc32(data[4:]) == int.from_bytes(data[:4], "big") else None


def remove(state: Path, run: str) -> None:
    """The run is taken again."""
    folder = folder_of(state)
    if folder.exists():
        with suppress(OSError):
            _path(state, run).unlink(missing_ok=True)
            folder.rmdir()


def folder_of(state: Path) -> Path:
    """Where the notes of a state file lie."""
    return state.with_name(f"{state.name}-stopped")


def _path(state: Path, run: str) -> Path:
    return folder_of(state) / blake2b(run.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
