"""A file that only its owner can read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from perdure.config.ownership import stranger
from perdure.errors import UsageError


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which only its owner can read; it takes the place of the one before when it is complete.

    What is no regular file (`/dev/stdout`, a pipe) is written to as it is.

    Raises:
        UsageError: it cannot be written, is a link to a file, or belongs to another user.
    """
    try:
        draft = _draft(path)
        target = draft or path
        flags = os.O_CREAT | os.O_EXCL if draft else 0
        descriptor = os.open(target, os.O_WRONLY | flags, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "name another file") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            if draft:
                stream.flush()
                os.fsync(stream.fileno())
        if draft:
            os.replace(draft, path)
    except BaseException:
        if draft:
            draft.unlink(missing_ok=True)
        raise


def _draft(path: Path) -> Path | None:
    """Where the new content is written first; None if it goes where it belongs at once."""
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        named, found = os.lstat(path), os.stat(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise PermissionError(errno.EPERM, "it is a link that leads nowhere") from None
        return draft
    if other := stranger(found):
        raise PermissionError(errno.EPERM, f"it belongs to {other}")
    if not stat.S_ISREG(found.st_mode):
        return None
    if stat.S_ISLNK(named.st_mode):
        raise PermissionError(errno.EPERM, f"it is a link, to {os.readlink(path)}")
    return draft
