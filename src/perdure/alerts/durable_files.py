"""Files that are there after a power cut, and a lock that a death frees."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perdure.config import ownership

POLL = 0.05
"""Seconds between two looks at a lock that somebody holds."""


def make_folder(path: Path) -> None:
    """A folder for our eyes only, and those above it; there even if the power goes now."""
    missing = []
    at = path
    while not at.is_dir():
        missing.append(at)
        at = at.parent
    for folder in reversed(missing):
        ownership.make_folder(folder)
        sync_folder(folder.parent)
    ownership.check_folder(path)


def write(path: Path, data: bytes) -> None:
    """Put a file there, whole or not at all, durable when this returns (fsync(2): the folder too)."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    descriptor = ownership.make_file(temporary, os.O_EXCL | os.O_WRONLY)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Take a file away for good; it may be gone already."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make what was put into the folder, or taken out of it, durable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return  # not on Windows
    try:
        with suppress(OSError):  # some network file systems have no such thing
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, patience: float, needless: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Hold the lock of that file; yields whether it was got.

    Args:
        path: the lock file; made if it is not there, and never removed.
        patience: seconds to wait for whoever holds it.
        needless: asked while waiting: is there nothing left to do?
    """
    from filelock import lock_descriptor, unlock_descriptor

    descriptor = ownership.make_file(path, os.O_RDWR)
    try:
        until = time.monotonic() + patience
        while not (got := lock_descriptor(descriptor, blocking=False)):
            if time.monotonic() >= until or needless():
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
