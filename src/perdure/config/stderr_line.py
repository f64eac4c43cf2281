"""Lines of perdure's on standard error."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print a line there, with its end in one write: those of threads and processes do not run into each other.

    Raises:
        OSError, ValueError: as `print` does.
    """
    stream = sys.stderr
    if stream is not None:
        stream.write(f"{line}\n")
        stream.flush()
