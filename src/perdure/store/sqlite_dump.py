"""The tables and rows of any SQLite file, as statements: `perdure crashtest` compares the user's databases by them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

MAGIC = b"SQLite format 3\0"
"""How such a file begins."""


def statements(path: Path) -> list[str]:
    """All tables and rows as statements, in an order that does not depend on how they were written.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with closing(sqlite3.connect(path)) as database:
            return sorted(database.iterdump())
    except sqlite3.Error as error:
        raise OSError(f"{path} cannot be read: {error}") from error
