"""Files that are whole and durable after a power cut, and a lock that the death of its holder frees."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perdure.config import ownership
from perdure.config.file_locks import lock_descriptor, unlock_descriptor
from perdure.config.steady_clock import steady

POLL = 0.05
"""Seconds between two looks at a lock that another process holds."""

DAMAGED = ".damaged"
"""How the name of a file ends that was set aside, since it cannot be read or is in the place of another."""

LARGEST = 1 << 20
"""Bytes of a file that `read` accepts; ours are a few thousand."""

_OF_THE_FILE = (None, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ENOTDIR, errno.EACCES, errno.EPERM)
"""What the system answers because of what a file is, and `read` without a number."""


def make_folder(path: Path) -> None:
    """Make a folder that only this user may read, and those above it; durable when this returns.

    A file in its place is set aside, and so is a link that leads to no folder.

    Raises:
        OSError: it cannot be made, is a link to a folder, or belongs to another user, who could exchange what lies in
            it.
    """
    if (path.is_symlink() or path.is_file()) and not path.is_dir():
        set_aside(path)
    for folder in ownership.missing_folders(path):
        ownership.make_folder(folder)
        sync_folder(folder.parent)
    ownership.check_folder(path)


def read(path: Path) -> bytes:
    """What a file holds.

    Raises:
        FileNotFoundError: it is gone.
        OSError: it cannot be read: it is no regular file (a pipe would never end), or too large to be ours.
    """
    with open(os.open(path, os.O_RDONLY | ownership.NO_LINK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(f"{path} is too large")
    return data


def is_of_the_file(error: OSError) -> bool:
    """Whether a file could not be read because of what it is. Else, as with no free descriptor or with a disk that
    reports an error, it may be read the next time: it is no reason to set it aside."""
    return error.errno in _OF_THE_FILE


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, durable when this returns (fsync(2): the folder too).

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    descriptor = ownership.make_file(temporary, os.O_EXCL | os.O_WRONLY)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(temporary, path)
        except IsADirectoryError:
            set_aside(path)
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file for good; it may be gone already."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def set_aside(path: Path) -> None:
    """Rename what cannot be used, so that it blocks nothing and can still be looked at.

    Raises:
        OSError: it cannot be renamed.
    """
    aside = path.with_name(f"{path.name[:150]}{DAMAGED}")
    if path.is_dir() and not path.is_symlink():
        # Onto an empty folder only a folder can be renamed: never the file that another process has just put there.
        aside = aside.with_name(f"{aside.stem}.{os.urandom(4).hex()}{DAMAGED}")
        ownership.make_private(aside)
    with suppress(FileNotFoundError):
        os.replace(path, aside)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make durable what was put into the folder, or taken out of it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return  # not on Windows
    try:
        with suppress(OSError):  # some network file systems cannot do it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, patience: float, needless: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Hold the lock of that file; yields whether it was got.

    Args:
        path: the lock file; made if it is missing, and never removed.
        patience: seconds to wait for the process that holds it.
        needless: asked while waiting: is there nothing left to do?

    Raises:
        OSError: the lock file cannot be opened.
    """
    descriptor = _open_lock(path)
    try:
        until = steady() + patience
        while not (got := lock_descriptor(descriptor)):
            if steady() >= until or needless():
                break
            time.sleep(POLL)
        try:
            yield got
        finally:
            if got:
                # Not left to closing: a child that was forked meanwhile has a copy, and would keep it locked.
                unlock_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return ownership.make_file(path, os.O_RDWR)
    except IsADirectoryError:
        set_aside(path)
        return ownership.make_file(path, os.O_RDWR)
