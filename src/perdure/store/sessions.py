"""Sessions: which process executed a run from when to when, and how it left it.

A row is written in the transaction that takes the run, and ended in the one that lets it go. Of a process that died,
who looks at its flight record next says so. Child runs have none: they are executed by the process of their root.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import apsw
import msgspec

from perdure.core.program_version import VERSION
from perdure.core.records import RunRecord, is_time
from perdure.store.rows import sealed, sound
from perdure.store.statements import load

if TYPE_CHECKING:
    from pathlib import Path

    from perdure.store.flight_record import Flight

_SQL = load("sessions.sql")
COLUMNS = 11
"""Of a session's row, with its checksum."""

Row = tuple[Any, ...]

DIED: Final = "died"
SUSPENDED: Final = "suspended"
INTERRUPTED: Final = "interrupted"
"""How a session has ended, if not with the run: that is the status of the run then."""


class SessionRow(msgspec.Struct, frozen=True):
    """One process at a run.

    Attributes:
        run: the number of the run.
        number: which session of it this is, from 1.
        holder: the number of the process.
        began: when, in seconds since the epoch.
        ended: when; None while it lasts, or if the moment of its death is not known.
        outcome: the status that the run had come to; "suspended" (left to its waits, or to others), "interrupted" or
            "died"; None while it lasts.
        cause: how the process died, as far as that is known.
        version: of perdure.
        script: the digest of the script's file (8 bytes); None if it has none.
        memory: the most that the process had used, in bytes; None if not measured.
        crc: the checksum.
    """

    run: int
    number: int
    holder: int
    began: float
    ended: float | None
    outcome: str | None
    cause: str | None
    version: str
    script: bytes | None
    memory: int | None
    crc: int


class Session(msgspec.Struct, frozen=True):
    """A session, and who it was: the token of the process, its number, its host."""

    row: SessionRow
    token: str
    pid: int
    host: str


def begin(connection: apsw.Connection, run: RunRecord, script: bytes | None, *, first: bool = False) -> Row | None:
    """This process has taken the run; nobody has before (`first`). Inside the transaction; `run` is as it is now.

    Returns the row of the session; None if there is none.
    """
    if run.parent is not None or run.holder is None:
        return None
    number = 1
    if not first:
        for row in connection.execute(_SQL["open"], (run.rid,)).fetchall():  # of a process that left no flight record
            _end(connection, row, None, DIED, None, None)
        (number,) = next(connection.execute(_SQL["next_number"], (run.rid,)))
    about = (run.rid, number, run.holder, float(run.started), None, None, None, VERSION, script, None)
    row = sealed(*about)
    connection.execute(_SQL["add"], row)
    return row


def end(connection: apsw.Connection, run: RunRecord, outcome: str, now: float, known: Row | None = None) -> None:
    """This process leaves the run. Inside the transaction; `known` is the row of its session as it was begun."""
    if run.parent is not None or (known is not None and _end(connection, known, now, outcome, None, peak_memory())):
        return
    for row in connection.execute(_SQL["open"], (run.rid,)).fetchall():
        _end(connection, row, now, outcome, None, peak_memory())


def died(connection: apsw.Connection, flights: Iterable[Flight]) -> None:
    """These processes have died. Inside a transaction."""
    for one in flights:
        for row in connection.execute(_SQL["open_of_process"], (one.token,)).fetchall():
            _end(connection, row, one.seen, DIED, one.cause or None, one.memory or None)


def is_open(connection: apsw.Connection, tokens: Iterable[str]) -> set[str]:
    """Which of these processes the file has sessions of that have not ended."""
    known: set[str] = {token for (token,) in connection.execute(_SQL["processes"])}
    return known.intersection(tokens)


def is_any_open(connection: apsw.Connection) -> bool:
    """Whether the file says that a process executes a run."""
    return connection.execute(_SQL["is_any_open"]).fetchone() is not None


def list_of(connection: apsw.Connection, rid: int, path: Path) -> list[Session]:
    """All sessions of a run, in their order.

    Args:
        connection: to the state file.
        rid: the number of the run.
        path: of the state file, for the message.

    Raises:
        StateCorrupt: one of them, or what the file says of its process, is not as it was written.
    """
    from perdure.store.damaged_rows import all_of

    return all_of(each_of(connection, rid), path)


def each_of(connection: apsw.Connection, rid: int) -> list[Session | int]:
    """All sessions of a run, in their order; the number of one that (or whose process) is not as it was written."""
    from perdure.store.damaged_rows import rows_of

    return [_session(both[:COLUMNS], both[COLUMNS:]) for both in rows_of(connection, _SQL["list"], (rid,))]


def left_at(connection: apsw.Connection, rid: int) -> float:
    """When the last process left a run, in seconds since the epoch; 0.0 if none has, or that is not known."""
    row: Any = connection.execute(_SQL["newest"], (rid,)).fetchone()
    return float(row[4] or 0.0) if row is not None and sound(row) and is_time(row[4] or 0.0) else 0.0


def _session(row: Any, holder: Any) -> Session | int:
    if not sound(row) or not sound(holder) or not is_time(row[3]) or not is_time(row[4]):
        number: int = row[1]
        return number
    _, token, pid, host, *_ = holder
    return Session(SessionRow(*row), token, pid, host)


def _end(
    connection: apsw.Connection, row: Row, ended: float | None, outcome: str, cause: str | None, memory: int | None
) -> bool:
    """Whether it was the row's end, that is, whether the file has it so. A damaged one is not made sound."""
    if not sound(row):
        return False
    run, number, _, began, _, _, _, version, script, _, crc = row
    when = None if ended is None else max(float(ended), began)
    *_, now = sealed(*row[:4], when, outcome, cause, version, script, memory)
    connection.execute(_SQL["put"], (when, outcome, cause, memory, now, run, number, crc))
    return connection.changes() > 0


AGAIN = 0.05
"""Seconds after which the memory is measured again: the kernel goes through all threads for it."""

_measured: tuple[float, int] | None = None


def peak_memory() -> int | None:
    """The most memory that this process has used, in bytes, or a moment ago had; None where the system does not say."""
    global _measured
    if sys.platform == "win32":
        return None
    now = monotonic()
    if _measured is None or now - _measured[0] > AGAIN:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        _measured = now, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return _measured[1]
