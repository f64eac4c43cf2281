"""A lock on an open file, held until it is let go or the descriptor is closed."""

from __future__ import annotations

import errno
import os

POSIX = os.name == "posix"
if POSIX:
    import fcntl

HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)
"""What file systems say of a lock that another process holds."""


def lock_descriptor(descriptor: int) -> bool:
    """Take the lock of a whole file, if it is free.

    Args:
        descriptor: an open file, which stays open.

    Returns:
        Whether it was taken. False if another process, or another descriptor of this one, holds it.

    Raises:
        OSError: the file system has no locks, or another error of the system.
    """
    if not POSIX:
        import filelock

        return filelock.lock_descriptor(descriptor, blocking=False)
    # The same lock as filelock takes, which takes a tenth of a script's start to import.
    return _flocked(descriptor, fcntl.LOCK_EX)


def is_free(descriptor: int) -> bool:
    """Does nobody hold the lock of that file?

    Looked at with a shared lock, which two that look at the same moment can both have. `lock_descriptor` may find it.
    """
    if not POSIX:
        return lock_descriptor(descriptor)
    return _flocked(descriptor, fcntl.LOCK_SH)


def _flocked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    return True


def unlock_descriptor(descriptor: int) -> None:
    """Let go of the lock.

    Raises:
        OSError: an error of the system.
    """
    if not POSIX:
        import filelock

        filelock.unlock_descriptor(descriptor)
        return
    fcntl.flock(descriptor, fcntl.LOCK_UN)
