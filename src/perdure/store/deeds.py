"""What people have had done: who cancelled a run, who dropped a letter, when, and by which way."""

from __future__ import annotations

from typing import NamedTuple

import apsw

from perdure.core.records import is_time
from perdure.store.damaged_rows import rows_of
from perdure.store.group_commit import Operation
from perdure.store.rows import sealed, sound
from perdure.store.statements import load

_SQL = load("deeds.sql")

LONGEST = 2_000
"""Characters of what is said about one."""


class DeedRow(NamedTuple):
    """A deed. `at` in seconds since the epoch; `via` is "command", "page" or "mcp"; `what` is the command's name."""

    did: int
    at: float
    who: str
    via: str
    what: str
    target: str
    detail: str
    crc: int


def add(at: float, who: str, via: str, what: str, target: str, detail: str) -> Operation:
    """An operation that writes a deed down."""

    def operation(connection: apsw.Connection) -> None:
        (did,) = next(connection.execute(_SQL["next_number"]))
        texts = (text.encode("utf-8", "replace").decode()[:LONGEST] for text in (who, via, what, target, detail))
        connection.execute(_SQL["add"], sealed(did, float(at), *texts))

    return operation


def before(connection: apsw.Connection, did: int | None, most: int) -> list[tuple[int, DeedRow | None]]:
    """Up to `most` deeds with lower numbers than `did`, the newest first; of None the newest ones. None for a deed that
    is not as it was written."""
    rows = rows_of(connection, _SQL["before"], (did, most))
    return [(row[0], DeedRow(*row) if sound(row) and is_time(row[1]) else None) for row in rows]
