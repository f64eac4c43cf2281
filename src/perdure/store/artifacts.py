"""The files of large data, in `<state>-artifacts` beside the state file: named by the digest of what they hold.

A file is whole and durable before a row names it. The state file says which runs use it; it goes with the last one.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from perdure.config import ownership
from perdure.errors import DiskFull, StateCorrupt, StateIO
from perdure.store.sync import sync_folder

SUFFIX = "-artifacts"
PORTION = 1 << 20
DIGEST = 32
"""Bytes of a digest; its name has twice as many digits."""

_folders: list[Path] = []


def folder_of(state: Path) -> Path:
    """Where the artifacts of a state file lie; from now on they are found there."""
    folder = state.with_name(state.name + SUFFIX)
    add_folder(folder)
    return folder


def add_folder(folder: Path) -> None:
    """Artifacts are looked for there, too."""
    if folder not in _folders:
        _folders.append(folder)


def digest_of(data: bytes) -> str:
    """What a file with this content is called: BLAKE2b (RFC 7693), in hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=DIGEST).hexdigest()


def keep(folder: Path, data: bytes | Path) -> tuple[str, int]:
    """Keep data, or what a file holds: its digest and size. The file is there after a power cut when this returns.

    Raises:
        StateError: it cannot be written.
        OSError: the file that is to be kept cannot be read.
    """
    if isinstance(data, bytes):
        name = digest_of(data)
        if not _is_there(folder / name, len(data)):
            with _written(folder) as (file, finish):
                file.write(data)
                finish(name)
        return name, len(data)
    with open(data, "rb") as source, _written(folder) as (file, finish):
        state, size = hashlib.blake2b(digest_size=DIGEST), 0
        while portion := source.read(PORTION):
            state.update(portion)
            size += len(portion)
            file.write(portion)
        finish(state.hexdigest())
    return state.hexdigest(), size


def find(digest: str, what: str) -> Path:
    """The file of that digest.

    Raises:
        StateCorrupt: it is in none of the folders of the state files that this process has opened.
    """
    for folder in _folders:
        path = folder / digest
        if path.is_file() and not path.is_symlink():
            return path
    where = ", ".join(map(str, _folders)) or "no state file is open"
    raise StateCorrupt(
        f"the file of {what} is missing: {digest[:16]}... ({where})",
        "restore the folder from a backup, beside its state file; or `perdure fork RUN --from STEP` makes it again",
    )


def read(digest: str, size: int, what: str) -> bytes:
    """What the file of that digest holds.

    Raises:
        StateCorrupt: it is missing, or holds something else.
        StateIO: it cannot be read.
    """
    path = find(digest, what)
    try:
        with open(os.open(path, os.O_RDONLY | ownership.NO_LINK), "rb") as file:
            data = file.read(size + 1)
    except OSError as error:
        raise StateIO(f"the file of {what} cannot be read: {path} ({error.strerror})", "check the disk") from error
    if len(data) != size or digest_of(data) != digest:
        raise StateCorrupt(
            f"the file of {what} is damaged: {path}",
            "restore it from a backup, or `perdure fork RUN --from STEP` makes it again",
        )
    return data


def is_sound(state: Path, digest: str) -> bool:
    """Is the file of that digest there, and as it was written?"""
    try:
        return digest_of((folder_of(state) / digest).read_bytes()) == digest
    except OSError:
        return False


def remove(folder: Path, digest: str) -> None:
    """Remove a file that no run uses any more."""
    with suppress(FileNotFoundError):
        (folder / digest).unlink()


def _is_there(path: Path, size: int) -> bool:
    try:
        return os.lstat(path).st_size == size and digest_of(path.read_bytes()) == path.name
    except OSError:
        return False


@contextmanager
def _written(folder: Path) -> Iterator[tuple[BinaryIO, Callable[[str], None]]]:
    """A file that gets its name, and is durable, when the function is called; otherwise nothing is left of it."""
    draft = folder / f".{os.getpid()}-{os.urandom(8).hex()}"
    try:
        ownership.make_folder(folder)
        with open(ownership.make_file(draft, os.O_EXCL | os.O_WRONLY), "wb") as file:

            def finish(name: str) -> None:
                file.flush()
                os.fsync(file.fileno())
                os.replace(draft, folder / name)
                sync_folder(folder)

            yield file, finish
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StateIO
        raise kind(
            f"an artifact cannot be written: {folder} ({error.strerror or error})",
            "see the space and the permissions of the folder, then run again; everything saved is intact",
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()
