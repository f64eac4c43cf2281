"""Rows of the state file as records, if they are as they were written."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import starmap
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from perdure.config.script_identity import present_path
from perdure.core.checksums import marked, row_checksum, step_checksums, step_identities
from perdure.core.execution.known_records import IndexPage
from perdure.core.letter_record import LetterRecord
from perdure.core.records import (
    CRC,
    KIND,
    MARKS,
    OUTPUT,
    SEQ,
    STARTED,
    STATUS,
    STEP_KINDS,
    STEP_STATUSES,
    AttemptRecord,
    FunctionRecord,
    N,
    Row,
    RunRecord,
    StepRecord,
)
from perdure.core.values.pieces import MAY_BE_APART
from perdure.errors import StateCorrupt

W = TypeVar("W", RunRecord, LetterRecord)
M = TypeVar("M", StepRecord, AttemptRecord, FunctionRecord)

_SURELY_A_TIME = 1e11
_OWN = itemgetter(slice(SEQ, None))
_HEAD = itemgetter(slice(0, 1))
_OF_CALLS = frozenset({"step", "builtin"})

UNREADABLE = (TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""What a column raises that holds another type than was ever written to it."""


ENDED = ("done", "failed", "parked", "cancelled")
"""How a run stands that has ended; one that failed may be gone on with."""

GONE_ON_WITH = ("failed", "parked")
"""Those of them whose open waits stay with their beginnings, for the life that goes on with the run."""


def intact(kind: type[W], row: Sequence[Any]) -> W | None:
    """The row as a record, if it is as it was written."""
    try:
        record = kind(*row)
        return record if record.intact() else None
    except UNREADABLE:
        return None


def intact_of_run(kind: type[M], row: Sequence[Any]) -> M | None:
    """The same for a row that begins with the number of its run."""
    run, *rest = row
    try:
        record = kind(*rest)
        return record if record.intact(run) else None
    except UNREADABLE:
        return None


def checked(kind: type[W], row: Sequence[Any], path: Path) -> W:
    """The row as a record; `path` is for the message.

    Raises:
        StateCorrupt: it does not match its checksum.
    """
    record = intact(kind, row)
    if record is None:
        raise corrupt(path)
    return record


def here(run: RunRecord, state: Path) -> RunRecord:
    """A run with the path where its script is now, which may have been moved with the folder of the state file."""
    path = present_path(run.path, run.script, state)
    return run if path == run.path else msgspec.structs.replace(run, path=path)


def checked_of_run(kind: type[M], row: Sequence[Any], path: Path) -> M:
    """The same for a row that begins with the number of its run.

    Raises:
        StateCorrupt: it does not match its checksum.
    """
    record = intact_of_run(kind, row)
    if record is None:
        raise corrupt(path)
    return record


def checked_steps(rows: Sequence[Sequence[Any]], path: Path) -> list[StepRecord]:
    """Rows of the step table as records; `path` is for the message.

    Raises:
        StateCorrupt: one of them does not match its checksum.
    """
    try:
        if rows and _are_intact(list(zip(*rows, strict=True))):
            return list(starmap(StepRecord, map(_OWN, rows)))
    except UNREADABLE as error:
        raise corrupt(path) from error
    return [checked_of_run(StepRecord, row, path) for row in rows]


def all_plain(rows: Sequence[Row]) -> bool:
    """Are all rows of first calls that have ended well, as they were written, and is there a row?

    They have one column behind the kind, which is not null if there is anything to be said besides. Their results are
    in them whole. False also of what has to be looked at more closely.
    """
    if not rows:
        return False
    columns: list[Any] = list(zip(*rows, strict=True))
    marks = columns.pop()
    try:
        return (
            columns[STATUS].count("done") == columns[N].count(0) == marks.count(None) == len(rows)
            and _OF_CALLS.issuperset(columns[KIND])
            and MAY_BE_APART.isdisjoint(map(_HEAD, columns[OUTPUT]))
            and _are_intact(columns)
        )
    except UNREADABLE:
        return False


def _are_intact(columns: Sequence[Any]) -> bool:
    """Are rows as they were written? False also if one has a time that has to be looked at more closely."""
    started = columns[STARTED]
    if not (min(started) >= 0 and max(started) <= _SURELY_A_TIME):
        return False
    if not (STEP_STATUSES.issuperset(columns[STATUS]) and STEP_KINDS.issuperset(columns[KIND])):
        return False
    sums = step_checksums(*columns[:CRC], *columns[KIND:MARKS])
    marks = columns[MARKS:]
    if any(column.count(None) != len(started) for column in marks):
        sums = list(map(marked, sums, *marks))
    return sums == list(columns[CRC])


def checked_index(rows: Sequence[Sequence[Any]], path: Path) -> IndexPage:
    """What finds the records of a run: its number, then their own, name, key, occurrence, status, kind and checksum.

    Returns:
        The columns of all but the first and the last.

    Raises:
        StateCorrupt: one of them does not match the half of its checksum that is about these.
    """
    *columns, crcs = zip(*rows, strict=True)
    try:
        if step_identities(*columns) != [crc >> 32 for crc in crcs]:
            raise corrupt(path)
    except UNREADABLE as error:
        raise corrupt(path) from error
    return columns[1:]


def is_found(row: Sequence[Any]) -> bool:
    """Does a row as in `checked_index` match the half of its checksum that is about what finds it?"""
    *columns, crc = row
    try:
        return step_identities(*zip(columns)) == [crc >> 32]
    except UNREADABLE:
        return False


def sound(row: Sequence[Any]) -> bool:
    """Does a row match the checksum that it ends with? For tables whose rows are no records of the core's."""
    *values, crc = row
    try:
        return bool(crc == row_checksum(*values))
    except UNREADABLE:
        return False


def sealed(*values: Any) -> tuple[Any, ...]:
    """A row of such a table, with its checksum."""
    return (*values, row_checksum(*values))


def corrupt(path: Path) -> StateCorrupt:
    """The error of a record that is not as it was written."""
    return StateCorrupt(
        f"a stored record does not match its checksum: {path}",
        "see `perdure doctor`, or restore a backup: the file was damaged or edited from outside",
    )
