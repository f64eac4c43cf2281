"""What finds the records of a run: the columns of the step table that identify them, read by pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from perdure.core.execution.known_records import IndexPage
from perdure.errors import StateCorrupt
from perdure.store.group_commit import Journal
from perdure.store.rows import checked_index, is_found
from perdure.store.state_files import SET_ASIDE
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
        refuse_going_back(found[0][-1], after, path)
        yield found
        after = found[0][-1]
    (last,) = journal.read(lambda connection: connection.execute(_SQL["last"], (rid,)).fetchone())
    if last is not None and last != after:  # looked for from behind
        raise _misplaced(path)


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


def refuse_misplaced(journal: Journal, rid: int, path: Path) -> None:
    """Make sure that no record of a run lies among those of another one, where none of the run's is found behind it.

    A flipped bit in the number of its run takes a record out of the order in which the table is searched, and with it
    those that follow: they would be done again.

    Raises:
        StateCorrupt: one does.
    """

    def question(connection: apsw.Connection) -> bool:
        for query, order in (("before", 1), ("behind", -1)):
            nearest, further = [*connection.execute(_SQL[query], (rid,)).fetchall(), None, None][:2]
            if nearest is None or is_found(nearest):
                continue
            # A damaged row that is in its place is for its own run to name.
            if is_found((rid, *nearest[1:])) or _is_out_of_order(rid, nearest, further, order):
                return True
        return False

    if journal.read(question):
        raise _misplaced(path)


def refuse_going_back(last: int, after: int, path: Path) -> None:
    """Make sure that who reads page by page comes to an end: a damaged page of the file may lead back to one before it.

    Args:
        last: the number of the last record of a page.
        after: that of the last one of the page before.
        path: the state file.

    Raises:
        StateCorrupt: it does.
    """
    if last <= after:
        raise _misplaced(path)


def _misplaced(path: Path) -> StateCorrupt:
    """Nothing can be given up of that: what is hidden may have been done."""
    return StateCorrupt(
        f"a stored record is out of its place, so that those behind it cannot be found: {path}",
        f"restore a backup: the file was damaged or edited from outside; or {SET_ASIDE}",
    )


def _is_out_of_order(rid: int, nearest: Sequence[Any], further: Sequence[Any] | None, order: int) -> bool:
    try:
        return (rid - nearest[0]) * order <= 0 or (further is not None and (nearest[0] - further[0]) * order < 0)
    except TypeError:
        return True


def last_of_calls(journal: Journal, rid: int) -> int | None:
    """The number of the last record of a run, if all are of calls that it has come past.

    None: it has no records, or some that are notes or of clean-ups, or of calls that were given up.
    """
    found: Any = journal.read(lambda connection: connection.execute(_SQL["last_of_calls"], (rid,)).fetchone())
    return None if found is None else int(found[0])
