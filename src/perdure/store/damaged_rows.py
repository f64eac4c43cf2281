"""Rows that are not as they were written, for listings: what is known of such a row is listed, and so are all others.

Whoever is to act on a row asks for it by itself, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import apsw

from perdure.errors import PerdureError, StateCorrupt
from perdure.store.rows import UNREADABLE

T = TypeVar("T")
F = TypeVar("F")

LOOK = "a record of it is not as it was written: see `perdure doctor`"
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


def rows_of(
    connection: apsw.Connection, statement: str, given: Any, key: str, one: str
) -> list[tuple[int, Sequence[Any] | None]]:
    """The rows that a statement finds, each with its number; None for one with a text that is none.

    Args:
        connection: where.
        statement: whose rows begin with the number, and are ordered by it, downwards.
        given: its values.
        key: what it calls the number.
        one: the statement for the row of one number.
    """
    try:
        rows: list[Any] = connection.execute(statement, given).fetchall()
        return [(row[0], row) for row in rows]
    except UnicodeDecodeError:
        found: list[Any] = connection.execute(f"SELECT {key} FROM ({statement}) ORDER BY {key} DESC", given).fetchall()
        return [(number, _row(connection, one, number)) for (number,) in found]


def _row(connection: apsw.Connection, statement: str, number: int) -> Sequence[Any] | None:
    try:
        row: Any = connection.execute(statement, (number,)).fetchone()
    except UnicodeDecodeError:
        return None
    return None if row is None else tuple(row)
