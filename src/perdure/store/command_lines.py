"""The command lines of runs: what a script was given that has begun one, or has gone on with it last.

Child runs have that of their root, and no row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.config.kept_command_line import CommandLine
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.statements import load

_SQL = load("command_lines.sql")


def packed(connection: apsw.Connection, rid: int, path: Path) -> bytes:
    """That of a root, as it is stored; empty if it has none. Inside a transaction.

    Args:
        connection: to the state file.
        rid: the number of the root.
        path: of the state file, for the message.

    Raises:
        StateCorrupt: it is not as it was written.
    """
    row: Any = connection.execute(_SQL["get"], (rid,)).fetchone()
    if row is None:
        return b""
    if not sound(row):
        raise corrupt(path)
    line: bytes = row[1]
    return line


def get(connection: apsw.Connection, rid: int, path: Path) -> CommandLine | None:
    """The same, unpacked; None if it has none.

    Raises:
        StateCorrupt: it is not as it was written.
    """
    data = packed(connection, rid, path)
    try:
        return CommandLine.unpacked(data) if data else None
    except msgspec.MsgspecError as error:
        raise corrupt(path) from error


def put(connection: apsw.Connection, rid: int, line: bytes) -> None:
    """A root is gone on with by a script that was given this, packed; empty: nothing. Inside the transaction."""
    if line:
        connection.execute(_SQL["put"], sealed(rid, line))
    else:
        connection.execute(_SQL["drop"], (rid,))


def copy(connection: apsw.Connection, source: int, rid: int, path: Path) -> None:
    """A fork has that of its source. Inside the transaction that makes it."""
    line = get(connection, source, path)
    if line is not None:
        connection.execute(_SQL["put"], sealed(rid, line.packed()))
