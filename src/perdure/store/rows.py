"""Rows of the state file as records, if they are as they were written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from perdure.core.dead_letters import LetterRecord
from perdure.core.records import AttemptRecord, FunctionRecord, RunRecord, StepRecord
from perdure.errors import StateCorrupt

R = TypeVar("R", StepRecord, AttemptRecord, RunRecord, LetterRecord, FunctionRecord)


def intact(kind: type[R], row: Sequence[Any]) -> R | None:
    """The row as a record, if it is as it was written."""
    try:
        record = kind(*row)
        return record if record.intact() else None
    except (TypeError, ValueError, AttributeError):  # a column holds another type than was ever written to it
        return None


def checked(kind: type[R], row: Sequence[Any], path: Path) -> R:
    """The row as a record; `path` is for the message.

    Raises:
        StateCorrupt: it does not match its checksum.
    """
    record = intact(kind, row)
    if record is None:
        raise StateCorrupt(
            f"a stored record does not match its checksum: {path}",
            "see `perdure doctor`, or restore a backup: the file was damaged or edited from outside",
        )
    return record
