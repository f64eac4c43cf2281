"""What finds the records of a run: the columns of the step table that identify them, read by pages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from perdure.core.execution.known_records import IndexPage
from perdure.store.group_commit import Journal
from perdure.store.rows import checked_index
from perdure.store.statements import load

_SQL = load("record_index.sql")

AT_ONCE = 10_000
"""Rows that are read together."""


def pages(journal: Journal, rid: int, path: Path) -> Iterator[IndexPage]:
    """The index of a run, some thousand rows at a time: a million of them together take half a gigabyte.

    Raises:
        StateCorrupt: a record is not as it was written.
    """
    after = -1
    while (found := page(journal, rid, path, after)) is not None:
        yield found
        after = found[0][-1]


def page(journal: Journal, rid: int, path: Path, after: int) -> IndexPage | None:
    """The next rows behind the record of that number; None if there are none.

    Raises:
        StateCorrupt: a record is not as it was written.
    """
    found: IndexPage | None = journal.read(partial(page_in, rid=rid, path=path, after=after, most=AT_ONCE))
    return found


def page_in(connection: apsw.Connection, rid: int, path: Path, after: int = -1, most: int = -1) -> IndexPage | None:
    """The same inside a transaction, and up to that many rows; all: -1."""
    rows: list[Any] = connection.execute(_SQL["step_index"], (rid, after, most)).fetchall()
    return checked_index(rows, path) if rows else None


def last_of_calls(journal: Journal, rid: int) -> int | None:
    """The number of the last record of a run, if all are of calls that it has come past.

    None: it has no records, or some that are notes or of clean-ups, or of calls that were given up.
    """
    found: Any = journal.read(lambda connection: connection.execute(_SQL["last_of_calls"], (rid,)).fetchone())
    return None if found is None else int(found[0])
