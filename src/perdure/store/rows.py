"""Rows of the state file as records, if they are as they were written."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from perdure.core.checksums import row_checksum, step_checksum, step_identity
from perdure.core.dead_letters import LetterRecord
from perdure.core.execution.record_matching import IndexRow
from perdure.core.records import (
    MARKS,
    SEQ,
    WIDTH,
    AttemptRecord,
    FunctionRecord,
    RunRecord,
    StepRecord,
)
from perdure.errors import StateCorrupt

W = TypeVar("W", RunRecord, LetterRecord)
M = TypeVar("M", StepRecord, AttemptRecord, FunctionRecord)

_UNMARKED = (None,) * (WIDTH - MARKS)
_SURELY_A_TIME = 1e11

UNREADABLE = (TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""What a column raises that holds another type than was ever written to it."""


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


def checked_of_run(kind: type[M], row: Sequence[Any], path: Path) -> M:
    """The same for a row that begins with the number of its run.

    Raises:
        StateCorrupt: it does not match its checksum.
    """
    record = intact_of_run(kind, row)
    if record is None:
        raise corrupt(path)
    return record


def checked_steps(rows: Iterable[Any], path: Path) -> list[StepRecord]:
    """Rows of the step table as records; `path` is for the message.

    Raises:
        StateCorrupt: one of them does not match its checksum.
    """
    found = []
    try:
        for row in rows:
            run, seq, name, key, n, status, given, output, started, ms, attempts, crc, kind = row[:MARKS]
            # Nearly all are like this. The others are looked at one by one, as are those that do not match.
            if (
                status == "done"
                and kind == "step"
                and 0 <= started <= _SURELY_A_TIME
                and row[MARKS:] == _UNMARKED
                and crc == step_checksum(run, seq, name, key, n, status, given, output, started, ms, attempts, kind)
            ):
                found.append(StepRecord(*row[SEQ:]))
            else:
                found.append(checked_of_run(StepRecord, row, path))
    except UNREADABLE as error:
        raise corrupt(path) from error
    return found


def checked_index(rows: Iterable[Sequence[Any]], path: Path) -> Iterator[IndexRow]:
    """What finds the records of a run: its number, then their own, name, key, occurrence, status, kind and checksum.

    Raises:
        StateCorrupt: one of them does not match the half of its checksum that is about these.
    """
    try:
        for row in rows:
            if row[7] >> 32 != step_identity(row[:7]):
                raise corrupt(path)
            yield row[1:7]  # type: ignore[misc]
    except UNREADABLE as error:
        raise corrupt(path) from error


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
