"""Parking: a call, or a run as a whole, becomes a dead letter, in the transaction that saves how it has failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from perdure.core.dead_letters import WHOLE_RUN, letter_checksum
from perdure.core.records import RunRecord
from perdure.store.group_commit import Operation
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


def park(connection: apsw.Connection, letters: Sequence[tuple[int, int]], terms: Terms, now: float) -> Parking:
    """Park the calls of these records (numbers of run and record) in the transaction that saves them."""
    if not letters:
        return Parking([], [])
    due = 0 if terms.export else None
    parked = [
        next(connection.execute(_SQL["park"], (rid, seq, now, due, letter_checksum(seq, None, None))))[0]
        for rid, seq in letters
    ]
    return Parking(parked, _evict(connection, terms.most, now))


def park_run(run: RunRecord, terms: Terms, now: float) -> Operation:
    """An operation that parks a run as a whole; redriving it is going on with it. Returns a Parking."""

    def operation(connection: apsw.Connection) -> Parking:
        due = 0 if terms.export else None
        row = (run.rid, now, due, letter_checksum(WHOLE_RUN, None, None))
        return Parking([next(connection.execute(_SQL["park_run"], row))[0]], [])

    return operation


def run_done(connection: apsw.Connection, rid: int, now: float) -> None:
    """The run has come to a good end: if it had been parked as a whole, that is resolved. Inside a transaction."""
    connection.execute(_SQL["resolve_run"], (now, rid))


def _evict(connection: apsw.Connection, most: int, now: float) -> list[int]:
    evicted: list[int] = []
    rows: list[Any] = connection.execute(_SQL["too_old"], (most,)).fetchall()
    for lid, rid, seq in rows:
        connection.execute(_SQL["evict"], (now, lid))
        call = connection.execute(_SQL["call_of"], (rid, seq)).fetchone()
        if call is not None:
            *identity, last = call
            for epoch in range((last or 0) + 1):  # by epoch, so that the key of the table finds them
                connection.execute(_SQL["drop_attempts"], (rid, epoch, *identity))
        evicted.append(lid)
    return evicted


def forget(connection: apsw.Connection, rid: int, seq: int) -> None:
    """A record was taken back, and with it the letter that it may have had. Inside a transaction."""
    connection.execute(_SQL["forget"], (rid, seq))
