"""Fails one operation on perdure's own files, those that SQLite does not see: locks, flight recorder, artifacts, logs,
the spool of alerts.

What opens, makes, moves, removes and locks files is met by Python's audit hook, which may raise in its place; reads,
writes and syncs of descriptors by functions in the place of those of `os`. Counted is what concerns the folder of the
state file, except what the test itself has there.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {
    *("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate", "os.listdir", "os.scandir"),
    *("os.chmod", "fcntl.flock", "fcntl.lockf", "mmap.__new__"),
}
OF_DESCRIPTORS = ("read", "pread", "write", "pwrite", "fsync", "fdatasync", "ftruncate")
OF_THE_TEST = {"script.py", "ledger.jsonl", "output.txt", "pipe", "trace", "mended"}


class OwnFiles:
    """Counts the operations, and fails number `at` with an error of that name, such as "EIO"; 0 fails none."""

    def __init__(self, name: str, at: int) -> None:
        self.count = 0
        self.failed = ""
        self._error = getattr(errno, name)
        self._at = at
        self._folder = os.path.dirname(os.path.realpath(os.environ["PERDURE_STATE"]))
        self._lock = threading.Lock()
        self._inside = threading.local()

    def install(self) -> None:
        """From now on."""
        sys.addaudithook(self._audit)
        for name in OF_DESCRIPTORS:
            setattr(os, name, self._guarded(name, getattr(os, name)))

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in EVENTS and args:
            self._meet(event, args[0])

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(descriptor: int, *args: Any) -> Any:
            self._meet(name, descriptor)
            return function(descriptor, *args)

        return guarded

    def _meet(self, operation: str, file: Any) -> None:
        if getattr(self._inside, "now", False):
            return
        self._inside.now = True
        try:
            path = self._path(file)
            if not path.startswith(self._folder) or Path(path).name in OF_THE_TEST or path.endswith((".py", ".pyc")):
                return
            with self._lock:
                self.count += 1
                if self.count != self._at:
                    return
                self.failed = f"{operation} of {path.removeprefix(self._folder)}"
        finally:
            self._inside.now = False
        raise OSError(self._error, os.strerror(self._error), path)

    @staticmethod
    def _path(file: Any) -> str:
        if isinstance(file, int):
            try:
                return os.readlink(f"/proc/self/fd/{file}")
            except OSError:
                return ""
        return os.path.abspath(os.fsdecode(file)) if isinstance(file, (str, bytes, os.PathLike)) else ""
