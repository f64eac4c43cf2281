"""Rows that are not as they were written, for listings: what is known of such a row is listed, and so are all others.

Whoever is to act on a row asks for it by itself, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import apsw

from perdure.errors import PerdureError, StateCorrupt
from perdure.store.rows import UNREADABLE, corrupt

T = TypeVar("T")
F = TypeVar("F")

LOOK = "damaged: see perdure doctor"
"""What a listing says of it."""


def if_sound(read: Callable[[], T], instead: Callable[[], F]) -> T | F:
    """What is read, or something `instead` of it if a row of it is damaged.

    Raises:
        PerdureError: it cannot be read for another reason.
    """
    try:
        return read()
    except StateCorrupt:
        return instead()
    except PerdureError:
        raise  # some are ValueErrors too
    except UNREADABLE:
        return instead()


class Damage:
    """What is found damaged of what is shown; all else is shown.

    Args:
        found: where it is added, by its name.
    """

    def __init__(self, found: list[str] | None = None) -> None:
        self.found: list[str] = [] if found is None else found

    def part(self, what: str, read: Callable[[], T], instead: T) -> T:
        """A part of a page; what stands in its place, if it cannot be read.

        Raises:
            PerdureError: it cannot be read for another reason.
        """

        def damaged() -> T:
            self.found.append(what)
            return instead

        return if_sound(read, damaged)

    def intact(self, rows: Iterable[T | int], name: str) -> list[T]:
        """The rows of a listing but for the damaged ones, of which there are their numbers; `name`: what one is."""
        known = []
        for one in rows:
            if isinstance(one, int):
                self.found.append(f"{name} {one}")
            else:
                known.append(one)
        return known


def all_of(rows: Iterable[T | int], path: Path) -> list[T]:
    """The rows of a listing, each of which has to be intact; of a damaged one there is its number.

    Raises:
        StateCorrupt: one of them is damaged, in the state file of that path.
    """
    damage = Damage()
    known = damage.intact(rows, "")
    if damage.found:
        raise corrupt(path)
    return known


def rows_of(connection: apsw.Connection, statement: str, given: Any = ()) -> list[Any]:
    """The rows that a statement finds. A text that is no UTF-8 is given with escapes: its row fits no checksum.

    Args:
        connection: where.
        statement: one that selects.
        given: its values.
    """
    try:
        return connection.execute(statement, given).fetchall()
    except UnicodeDecodeError:
        from apsw import ext

        names = [f"c{place}" for place in range(len(ext.query_info(connection, statement).description))]
        columns = (
            f"typeof({name}) = 'text', iif(typeof({name}) = 'text', CAST({name} AS BLOB), {name})" for name in names
        )
        found = f"WITH found ({', '.join(names)}) AS ({statement}\n) SELECT {', '.join(columns)} FROM found"
        rows: list[Any] = connection.execute(found, given).fetchall()
        return [
            tuple(
                value.decode("utf-8", "backslashreplace") if is_text else value
                for is_text, value in zip(row[::2], row[1::2], strict=True)
            )
            for row in rows
        ]
