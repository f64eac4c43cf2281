"""Records that were taken back, and that a dead letter is about: they are set aside, and what is known of it stays.

No call claims such a record. It is of the kind `undone`, and its number among the calls that are alike (`n`) is one
that none has: docs/decisions/0103-letters-of-calls-that-are-undone.md. What a letter was edited into stays the input.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from perdure.core.execution.spending import CallId
from perdure.core.letter_record import LetterRecord
from perdure.core.records import SET_ASIDE, RunRecord
from perdure.store import parking, pieces
from perdure.store.rows import checked
from perdure.store.statements import load

if TYPE_CHECKING:
    from perdure.store.run_queries import RunQueries

_SQL = load("set_aside.sql")


def put(store: RunQueries, connection: apsw.Connection, rid: int, seq: int) -> bool:
    """Set a record aside that is to be taken back, if a dead letter is about it; is one?

    A letter that is parked is superseded: the call is made again.
    """
    letter = parking.of_record(connection, store.path, rid, seq)
    if letter is None:
        return False
    record = store.record_in(connection, rid, seq)
    status = "done" if record.status == "done" else "failed"  # its letter is not due by it any more
    record = msgspec.structs.replace(record, kind="undone", n=record.n + SET_ASIDE, status=status, spent=None)
    record = record.sealed(rid)
    connection.execute(_SQL["put"], (record.kind, record.n, record.status, record.crc, rid, seq))
    if letter.status == "parked":
        parking.put(connection, letter, status="superseded", holder=None)
    return True


def edits(store: RunQueries, rid: int) -> dict[CallId, bytes]:
    """What letters were edited into, packed, whose calls and clean-ups a run makes anew when it comes to them."""

    def question(connection: apsw.Connection) -> dict[CallId, bytes]:
        found: dict[CallId, bytes | None] = {}
        rows: list[Any] = connection.execute(_SQL["edits"], (rid, SET_ASIDE)).fetchall()
        for name, key, n, *row in rows:
            letter = pieces.whole(connection, checked(LetterRecord, row, store.path), store.path)
            found[name, key, n % SET_ASIDE] = letter.input  # of several, the newest says it
        return {call: given for call, given in found.items() if given is not None}

    asked: dict[CallId, bytes] = store.journal.read(question)
    return asked


def letter_of(store: RunQueries, rid: int, seq: int) -> LetterRecord | None:
    """The dead letter about a record, if there is one."""

    def question(connection: apsw.Connection) -> LetterRecord | None:
        letter = parking.of_record(connection, store.path, rid, seq)
        return None if letter is None else pieces.whole(connection, letter, store.path)

    found: LetterRecord | None = store.journal.read(question)
    return found


def undone_before(store: RunQueries, rid: int, seq: int) -> Counter[bytes]:
    """How often which calls had been undone, as in `History.undone`, when the record of that number was written."""
    rows: list[Any] = store.journal.read(lambda each: each.execute(_SQL["undone_before"], (rid, seq)).fetchall())
    return Counter(key for (key,) in rows)


def made_as_edited(store: RunQueries, connection: apsw.Connection, run: RunRecord) -> list[str]:
    """A line about each call that a run makes again with the input that its letter was edited into."""
    rows: list[Any] = connection.execute(_SQL["to_make"], (run.rid, SET_ASIDE)).fetchall()
    return [
        f"run {run.id} makes a call of {name} again, with the input that dead letter {lid} was edited into"
        for lid, name in rows
    ]
