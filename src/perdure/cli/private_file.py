"""A file that only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from perdure.errors import UsageError


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which only its owner can read; what it held before is replaced.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "name another file") from error
    with os.fdopen(descriptor, "wb") as stream:
        yield stream
