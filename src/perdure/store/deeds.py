"""What people have had done: who cancelled a run, who dropped a letter, when, and by which way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import apsw

from perdure.core.records import is_time
from perdure.store.group_commit import Operation
from perdure.store.rows import corrupt, sealed, sound
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


def before(connection: apsw.Connection, did: int | None, most: int, path: Path) -> list[DeedRow]:
    """Up to `most` deeds with lower numbers than `did`, the newest first; of None the newest ones.

    Raises:
        StateCorrupt: one of them is not as it was written.
    """
    rows: list[Any] = connection.execute(_SQL["before"], (did, most)).fetchall()
    for row in rows:
        if not sound(row) or not is_time(row[1]):
            raise corrupt(path)
    return [DeedRow(*row) for row in rows]
