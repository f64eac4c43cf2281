"""Says that something about the runs of a state file has changed, for next to nothing: for pages that are looked at."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from perdure.store import listing
from perdure.store.flight_record import folder_of
from perdure.store.liveness import seems_alive
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("changes.sql")

STILL = 9
"""Looks in a row at the write-ahead log that find it as it was, until its time is trusted."""

MOST = 50
"""Runs that are named; of more that have changed, the newest."""


class Changes:
    """Looks at a state file again and again. Open it, and close it, in one thread.

    Args:
        path: the state file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = Store(path, read_only=True)
        self.is_copy = listing.is_copy(self._store)
        self._file = _identity(path)
        self._wal = f"{path}-wal"
        self._services = f"{path}-services", f"{path}-services-wal"
        self._flight = folder_of(path)
        self._looks: int | None = None
        self._same = 0
        self._version: Hashable = None
        self._executing: tuple[Hashable, tuple[str, ...]] = None, ()
        self._last: int | None = None
        self._at_work: dict[int, tuple[Any, ...]] = {}
        self._asked: dict[str, tuple[Any, ...]] = {}

    def records(self) -> Hashable:
        """Differs from the last answer if a process has committed since.

        Each commit writes to the write-ahead log, and its time costs a fifth of what SQLite does to answer
        (data_version). Where times of files are whole seconds, two commits have the same one: so SQLite is asked, too,
        for some looks after the last one that found another time. A file of an older version is looked at as it was
        when it was opened (`is_copy`): then open it again.
        """
        if self.is_copy:
            return _stamp(self._path), _stamp(self._wal)
        before, self._looks = self._looks, _stamp(self._wal)
        self._same = self._same + 1 if before == self._looks else 0
        if self._same < STILL:
            self._version = self._store.journal.read(lambda connection: connection.pragma("data_version"))
        return self._version

    def runs(self, asked: Sequence[str] = ()) -> list[str]:
        """The ids of runs in which something was recorded since the last answer: of those that processes execute or
        executed then, that have been begun, or are asked about; and of the runs that these are child runs of.

        A run that is asked about for the first time counts as changed: since when is not known.
        """
        if self._last is None:
            self._last = self._ask("last_run")[0][0]
        begun = self._ask("begun", {"after": self._last, "most": MOST})
        if begun:
            self._last = self._ask("last_run")[0][0]
        now = {rid: tuple(row) for rid, *row in self._ask("at_work", {"most": MOST})}
        left = {rid: tuple(row) for one in self._at_work if one not in now for rid, *row in self._ask("again", (one,))}
        known, self._at_work = self._at_work, now
        changed = {rid: row[0] for rid, row in {**left, **now}.items() if known.get(rid) != row}
        changed |= {rid: id for rid, id, *_ in begun}
        found = dict.fromkeys(changed.values())
        for rid in changed:
            found |= dict.fromkeys(id for (id,) in self._ask("above", (rid,)))
        before, self._asked = self._asked, {}
        for id in asked:
            self._asked[id] = next(iter(self._ask("everything", (id,))), ())
            if before.get(id, ()) != self._asked[id]:
                found[id] = None
        return list(found)

    def around(self) -> Hashable:
        """Differs from the last answer if a process died, or breakers or attempts in flight have changed.

        Raises:
            OSError: the file is not there any more, or another one is in its place: what is open stays as it was.
        """
        if _identity(self._path) != self._file:
            raise FileNotFoundError(f"{self._path} is another file now")
        return *map(_stamp, self._services), _stamps(self._flight), self._living()

    def _living(self) -> tuple[str, ...]:
        """The processes that execute runs and live. Which there are is asked when something was committed."""
        known, tokens = self._executing
        if known is None or known != self._version:
            tokens = tuple(token for (token,) in self._ask("executing"))
            self._executing = self._version, tokens
        return tuple(token for token in tokens if seems_alive(self._path, token))

    def _ask(self, query: str, given: Any = ()) -> list[Any]:
        rows: list[Any] = self._store.journal.read(lambda at: at.execute(_SQL[query], given).fetchall())
        return rows

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def _stamps(folder: Path) -> tuple[tuple[str, int], ...]:
    try:
        with os.scandir(folder) as found:
            return tuple(sorted((one.name, one.stat().st_mtime_ns) for one in found))
    except OSError:
        return ()


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _stamp(path: str | Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
