"""Sees that a script was edited, or a file that it is made of."""

from __future__ import annotations

import os
from collections.abc import Mapping

from perdure.config.script_loader import drop_bytecode
from perdure.engines.local.worker.loaded_scripts import digest_of

Signature = tuple[int, int, int, int] | None


class Edits:
    """Looks at files now and then. A file that was touched is read once it has rested between two looks."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._seen: dict[str, Signature] = {}
        self._moving: set[str] = set()

    def watch(self, files: Mapping[str, str]) -> None:
        """From now on, these files are looked at too.

        Args:
            files: by path, the digest of what was loaded; empty if that is not known.
        """
        for path, digest in files.items():
            if self._known.get(path) != digest:
                self._known[path] = digest
                self._moving.add(path)
                self._seen.pop(path, None)

    def accept(self) -> None:
        """The files are loaded anew as they are now."""
        for path in self._known:
            self._known[path] = digest_of(path)
        self._moving.clear()

    def look(self) -> list[str]:
        """The files that were edited since they were loaded."""
        edited = []
        for path in self._known:
            found = _signature(path)
            if path not in self._seen or self._seen[path] != found:
                self._seen[path] = found
                self._moving.add(path)
            elif path in self._moving:
                self._moving.discard(path)
                if digest_of(path) != self._known[path]:
                    drop_bytecode(path)
                    edited.append(path)
        return edited


def _signature(path: str) -> Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
