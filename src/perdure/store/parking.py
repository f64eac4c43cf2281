"""Parking: a call, or a run as a whole, becomes a dead letter, in the transaction that saves how it has failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.exceptions import capture
from perdure.core.letter_record import WHOLE_RUN, LetterRecord
from perdure.core.records import RunRecord
from perdure.errors import NotDecodable
from perdure.store import pieces
from perdure.store.rows import checked
from perdure.store.statements import load

_SQL = load("parking.sql")


class Parking(msgspec.Struct, frozen=True):
    """What was parked, and which older letters had to make room; their numbers."""

    parked: list[int]
    evicted: list[int]


class Terms(msgspec.Struct, frozen=True):
    """What holds for letters that are parked: how many at most, and whether they are to be exported as well."""

    most: int
    export: bool = False


TERMS = Terms(10_000)


def park(
    connection: apsw.Connection,
    path: Path,
    letters: Sequence[tuple[int, int]],
    faults: Mapping[int, bytes],
    terms: Terms,
    now: float,
    edited: bytes | None = None,
) -> Parking:
    """Park the calls of these records (numbers of run and record) in the transaction that saves them.

    `faults` are what they have failed with, packed, by the number of the record; `edited` is the input that they were
    made with, if it is not the recorded one.
    """
    if not letters:
        return Parking([], [])
    due = 0 if terms.export else None
    first = _next_number(connection)
    given = None if edited is None else pieces.keep(connection, letters[0][0], edited)
    rows = [
        LetterRecord(lid, rid, seq, "parked", now, now, 0, None, given, None, due, 0, *reason_of(faults.get(seq)))
        for lid, (rid, seq) in enumerate(letters, first)
    ]
    add(connection, rows)
    return Parking([one.lid for one in rows], _evict(connection, path, terms.most, now))


def park_run(
    connection: apsw.Connection, path: Path, run: RunRecord, fault: bytes | None, terms: Terms, now: float
) -> Parking:
    """Park a run as a whole, in the transaction that ends it (with `fault`); redriving it is going on with it."""
    due = 0 if terms.export else None
    letter = of_record(connection, path, run.rid, WHOLE_RUN)
    error, reason = reason_of(fault)
    if letter is not None:
        parked = {"status": "parked", "created": now, "changed": now, "holder": None, "exported": due}
        put(connection, letter, **parked, error=error, fingerprint=reason)
        return Parking([letter.lid], [])
    lid = _next_number(connection)
    letter = LetterRecord(lid, run.rid, WHOLE_RUN, "parked", now, now, 0, None, None, None, due, 0, error, reason)
    add(connection, [letter])
    return Parking([lid], [])


def are_there(connection: apsw.Connection) -> bool:
    """Does the file have a dead letter at all, of whichever run and however it stands? Most have none."""
    return connection.execute(_SQL["any_letter"]).fetchall() != [(0,)]


def reason_of(fault: bytes | None) -> tuple[str | None, bytes | None]:
    """Class and fingerprint of what a call has failed with; None and None if that cannot be read."""
    if fault is None:
        return None, None
    try:
        found = capture.decode(fault)
    except NotDecodable:
        return None, None
    from perdure.core.exceptions.fingerprint import fingerprint  # its expressions are compiled when a call fails

    return found.name, fingerprint(found)


def run_done(connection: apsw.Connection, path: Path, rid: int, now: float) -> None:
    """The run has come to a good end: if it had been parked as a whole, that is resolved. Inside a transaction."""
    letter = of_record(connection, path, rid, WHOLE_RUN)
    if letter is not None and letter.status == "parked":
        put(connection, letter, status="resolved", holder=None, changed=now)


def add(connection: apsw.Connection, letters: Sequence[LetterRecord]) -> None:
    """Add letters, under their checksums. Inside a transaction."""
    connection.executemany(_SQL["add"], [msgspec.structs.astuple(letter.sealed()) for letter in letters])


def add_copies(connection: apsw.Connection, letters: Sequence[LetterRecord]) -> None:
    """Add letters under new numbers."""
    first = _next_number(connection)
    add(connection, [msgspec.structs.replace(letter, lid=lid) for lid, letter in enumerate(letters, first)])


def put(connection: apsw.Connection, letter: LetterRecord, **changed: Any) -> None:
    """Change a letter that was read in this transaction."""
    _, run, _, *rest = msgspec.structs.astuple(msgspec.structs.replace(letter, **changed).sealed())
    connection.execute(_SQL["put"], (run, *rest, letter.lid))


def _next_number(connection: apsw.Connection) -> int:
    lid: int = next(connection.execute(_SQL["next_number"]))[0]
    return lid


def of_record(connection: apsw.Connection, path: Path, rid: int, seq: int) -> LetterRecord | None:
    """The letter about a record, if there is one."""
    row: Any = connection.execute(_SQL["of_record"], (rid, seq)).fetchone()
    return None if row is None else checked(LetterRecord, row, path)


def _evict(connection: apsw.Connection, path: Path, most: int, now: float) -> list[int]:
    evicted: list[int] = []
    rows: list[Any] = connection.execute(_SQL["too_old"], (most,)).fetchall()
    for row in rows:
        letter = checked(LetterRecord, row, path)
        put(connection, letter, status="evicted", changed=now)
        call = connection.execute(_SQL["call_of"], (letter.run, letter.seq)).fetchone()
        if call is not None:
            *identity, last = call
            for epoch in range((last or 0) + 1):  # by epoch, so that the key of the table finds them
                connection.execute(_SQL["drop_attempts"], (letter.run, epoch, *identity))
        evicted.append(letter.lid)
    return evicted
