"""Which processes executed a run, and how each of them left it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.store import flight_record, sessions
from perdure.store.damaged_rows import Damage
from perdure.store.liveness import seems_alive
from perdure.store.runs import Store


class SessionView(msgspec.Struct, frozen=True):
    """One process at a run.

    Attributes:
        number: which session of the run, from 1.
        pid: the number of the process.
        host: its machine.
        began: when it took the run.
        ended: when it left it; None while it has it, or if the moment of its death is not known.
        outcome: "running", the status that the run had come to, "suspended" (left to its waits, or to another process),
            "interrupted" or "died".
        cause: how the process died, as far as that is known.
        version: of perdure.
        script: the digest of the script's file, in hexadecimal digits.
        memory: the most that the process had used, in bytes.
    """

    number: int
    pid: int
    host: str
    began: datetime | None
    ended: datetime | None
    outcome: str
    cause: str | None
    version: str
    script: str | None
    memory: int | None


def sessions_of(store: Store, run: RunRecord, damage: Damage) -> list[SessionView]:
    """All sessions of a run but damaged ones, the first one at the front; a child run has none of its own.

    Raises:
        StateError: the file cannot be read.
    """
    found: list[sessions.Session | int] = store.journal.read(lambda at: sessions.each_of(at, run.rid))
    return [_view(store, one) for one in damage.intact(found, "session")]


def _view(store: Store, one: sessions.Session) -> SessionView:
    row = one.row
    ended, outcome, cause, memory = row.ended, row.outcome, row.cause, row.memory
    if outcome is None and not seems_alive(store.path, one.token):  # and nobody has gone on with it yet
        outcome = sessions.DIED
        if (flight := flight_record.read(flight_record.record_of(store.path, one.token))) is not None:
            ended, cause, memory = flight.seen, flight.cause or None, flight.memory or None
    return SessionView(
        number=row.number,
        pid=one.pid,
        host=one.host,
        began=moment(row.began),
        ended=None if ended is None else moment(ended),
        outcome=outcome or "running",
        cause=cause,
        version=row.version,
        script=None if row.script is None else row.script.hex(),
        memory=memory,
    )
