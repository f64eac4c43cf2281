"""The files of large data, in `<state>-artifacts` beside the state file: named by the digest of what they hold.

A file is whole and durable before a row names it. The state file says which runs use it; it goes with the last one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from perdure.config import ownership
from perdure.core.digests import blake2b
from perdure.errors import DiskFull, OptionError, StateCorrupt, StateIO
from perdure.store.folder_sync import sync_folder

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
    return blake2b(data, digest_size=DIGEST).hexdigest()


def keep(folder: Path, data: bytes | Path) -> tuple[str, int]:
    """Keep data, or what a file holds: its digest and size. The file is there after a power cut when this returns.

    Raises:
        StateError: it cannot be written.
        OptionError: what is to be kept is a pipe, a device or a socket.
        OSError: the file that is to be kept cannot be read.
    """
    if isinstance(data, bytes):
        name = digest_of(data)
        if not _is_there(folder / name, len(data)):
            with _written(folder) as (file, finish):
                file.write(data)
                finish(name)
        return name, len(data)
    with open_regular(data) as source, _written(folder) as (file, finish):
        state, size = blake2b(digest_size=DIGEST), 0
        while portion := source.read(PORTION):
            state.update(portion)
            size += len(portion)
            file.write(portion)
        finish(state.hexdigest())
    return state.hexdigest(), size


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """A file, open for reading. A pipe would be waited for, and a device has no end.

    Raises:
        OptionError: it is neither a file nor a link to one.
        OSError: it cannot be read.
    """
    # Not blocking: opening a pipe waits for its writer.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OptionError(
                f"an artifact is to be made of {str(path)!r}, which is no file but a pipe, a device or a socket",
                "read it, and give what was read: perdure.artifact(data)",
            )
        yield file


def find(digest: str, what: str, state: Path | None = None, *, remake: str = "") -> Path:
    """The file of that digest.

    Args:
        digest: which.
        what: what it holds, for messages.
        state: the state file that names it; None: one of those that this process has opened.
        remake: the command that makes it again, if one is known.

    Raises:
        StateCorrupt: it is not there.
    """
    folders = _folders if state is None else [folder_of(state)]
    for folder in folders:
        path = folder / digest
        if path.is_file() and not path.is_symlink():
            return path
    where = ", ".join(map(str, folders)) or "no state file is open"
    raise StateCorrupt(
        f"the file of {what} is missing: {digest[:16]}... ({where})",
        f"restore the folder from a backup, beside its state file{_or(remake)}",
    )


def read(digest: str, size: int, what: str, state: Path | None = None, *, remake: str = "") -> bytes:
    """What the file of that digest holds; the arguments are those of `find`, and `size` in bytes.

    Raises:
        StateCorrupt: it is missing, or holds something else.
        StateIO: it cannot be read.
    """
    path = find(digest, what, state, remake=remake)
    try:
        with open(os.open(path, os.O_RDONLY | ownership.NO_LINK), "rb") as file:
            data = file.read(size + 1)
    except OSError as error:
        raise StateIO(f"the file of {what} cannot be read: {path} ({error.strerror})", "check the disk") from error
    if len(data) != size or digest_of(data) != digest:
        raise StateCorrupt(
            f"the file of {what} is damaged: {path}",
            f"restore it from a backup{_or(remake)}",
        )
    return data


def _or(remake: str) -> str:
    return f"; or make it again: {remake}" if remake else "; or make its step again: `perdure fork RUN --from STEP`"


def is_sound(state: Path, digest: str) -> bool:
    """Is the file of that digest there, and as it was written?"""
    try:
        return digest_of((folder_of(state) / digest).read_bytes()) == digest
    except OSError:
        return False


def is_there(state: Path, digest: str) -> bool:
    """Is there a file of that digest? It is not read."""
    return (folder_of(state) / digest).is_file()


def sweep(folder: Path, is_used: Callable[[str], bool], before: float) -> list[str]:
    """Remove the files that no run uses, and what writers that were killed have left.

    Args:
        folder: of a state file.
        is_used: does a run use the file of that digest?
        before: seconds since the epoch; what was written or kept again later stays, since its row may not be there yet.

    Returns:
        The names of the files that were removed.
    """
    removed = []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    for name in names:
        path = folder / name
        with suppress(FileNotFoundError):
            about = path.lstat()
            if stat.S_ISREG(about.st_mode) and about.st_mtime < before and not is_used(name):
                path.unlink()
                removed.append(name)
    return removed


def _is_there(path: Path, size: int) -> bool:
    try:
        if os.lstat(path).st_size != size or digest_of(path.read_bytes()) != path.name:
            return False
        os.utime(path)  # `sweep` leaves it
    except OSError:
        return False
    return True


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
