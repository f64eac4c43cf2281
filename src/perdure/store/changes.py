"""Says that something about the runs of a state file has changed, for next to nothing: for pages that are looked at."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path

from perdure.store import listing
from perdure.store.flight_record import folder_of
from perdure.store.runs import Store


class Changes:
    """Looks at a state file again and again. Open it, and close it, in one thread.

    Args:
        path: the state file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = Store(path, read_only=True)

    def records(self) -> Hashable:
        """Differs from the last answer if a process has committed since (SQLite's data_version: microseconds)."""
        version: int = self._store.journal.read(lambda connection: connection.pragma("data_version"))
        return version

    def around(self) -> Hashable:
        """Differs from the last answer if a process died, or breakers or attempts in flight have changed."""
        services = self._path.with_name(f"{self._path.name}-services")
        return (
            _stamp(services),
            _stamp(services.with_name(f"{services.name}-wal")),
            tuple(sorted(_stamps(folder_of(self._path)))),
            tuple(listing.executing(self._store)),
        )

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def _stamps(folder: Path) -> list[tuple[str, int]]:
    try:
        with os.scandir(folder) as found:
            return [(one.name, one.stat().st_mtime_ns) for one in found]
    except OSError:
        return []


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
