"""What a file is that a workflow opens."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import Any

_LOGGERS = {("logging", "_open"), ("loguru._file_sink", "_create_file")}
"""Module and function that open a file for lines of a log."""

_DEEPEST = 20
"""Lines of the program that are looked at for a logger."""


def is_log() -> bool:
    """Does a logger open or turn over its file?"""
    frame: Any = sys._getframe(2)
    for _ in range(_DEEPEST):
        if frame is None:
            return False
        module = frame.f_globals.get("__name__")
        if (module, frame.f_code.co_name) in _LOGGERS or module == "logging.handlers":
            return True
        frame = frame.f_back
    return False


def size(place: str) -> int:
    """Its bytes; 0 of a file that is not there."""
    try:
        return os.stat(place).st_size
    except OSError:
        return 0


def opened(place: str, flags: int) -> None:
    """What the call to come would do to the file before anything is written."""
    with suppress(OSError):
        os.close(os.open(place, flags, 0o666))


def is_device(place: str) -> bool:
    """Is it something like /dev/null or a terminal? What lies in /dev/shm outlives the process, as other files do."""
    try:
        return place.startswith("/dev/") and stat.S_ISCHR(os.stat(place).st_mode)
    except OSError:
        return False
