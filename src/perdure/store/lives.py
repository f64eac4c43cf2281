"""In the middle of which calls lives of a run have ended, however they did: a crash, a signal, Ctrl-C, sys.exit.

Rows of the crash table speak against a step until it has come to an end. These stay: a call that was executed in more
than one life is marked for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.execution.crash_loop import Lives, fitted
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.statements import load

_SQL = load("lives.sql")

INTERRUPTED = "interrupted"
"""The cause of a life that ended in the process itself."""


class Cut(msgspec.Struct, frozen=True):
    """A call that was in flight when the process left its run. `started` in seconds since the epoch."""

    name: str
    key: bytes
    n: int
    attempt: int
    started: float


class CutLife(msgspec.Struct, frozen=True):
    """A life of a run that ended in the middle of a call. Times in seconds since the epoch."""

    name: str
    key: bytes
    n: int
    attempt: int
    started: float
    ended: float
    cause: str


def add(
    connection: apsw.Connection, rid: int, token: str, cut: Sequence[Cut], ended: float, cause: str = INTERRUPTED
) -> None:
    """Write down that a life of the run ended in the middle of these calls.

    Args:
        connection: in a transaction.
        rid: the run.
        token: of the process.
        cut: the calls.
        ended: when it ended, in seconds since the epoch.
        cause: how, as the watchdog has it.
    """
    for one in cut:
        # One process may leave the same call several times.
        about = (rid, fitted(one.name), one.key, one.n, f"{token}/{one.started}", one.attempt)
        connection.execute(_SQL["add"], sealed(*about, float(one.started), float(ended), cause))


def lives_of(store: Any, rid: int) -> Lives:
    """In the middle of which calls of a run how many lives of it have ended.

    Raises:
        StateCorrupt: what the file says of one is not what was written.
    """
    found: Lives = {}
    for one in list_of(store, rid):
        call = one.name, one.key, one.n
        found[call] = found.get(call, 0) + 1
    return found


def list_of(store: Any, rid: int) -> list[CutLife]:
    """Every life of a run that ended in the middle of a call, oldest first.

    Raises:
        StateCorrupt: what the file says of one is not what was written.
    """

    found: list[CutLife] = store.journal.read(lambda connection: list_in(connection, rid, store.path))
    return found


def list_in(connection: apsw.Connection, rid: int, path: Path) -> list[CutLife]:
    """The same, in a transaction on the state file of that path."""
    found = []
    rows: list[Any] = connection.execute(_SQL["list"], (rid,)).fetchall()
    for row in rows:
        if not sound(row):
            raise corrupt(path)
        _, name, key, n, _, attempt, started, ended, cause, _ = row
        found.append(CutLife(name, key, n, attempt, started, ended, cause))
    return found
