"""The one place that opens connections to SQLite, and runs several statements in one text."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import apsw

T = TypeVar("T")

BUSY_MS = 30_000
STEPS = 1_000_000
"""Of SQLite's virtual machine, between two looks at signals: some milliseconds."""

Durability = Literal["FULL", "NORMAL", "OFF"]
"""When SQLite waits for the disk (https://www.sqlite.org/pragma.html#pragma_synchronous)."""


def open_connection(
    path: Path, synchronous: Durability, *, read_only: bool = False, vfs: str | None = None
) -> apsw.Connection:
    """Open a file that is there.

    Args:
        path: the file.
        synchronous: what a commit waits for.
        read_only: open for looking only.
        vfs: the name of a registered SQLite VFS, for tests that inject faults.

    Raises:
        apsw.Error: it cannot be opened.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    return _set_up(str(path), flags, vfs, None if read_only else synchronous)


def open_unlocked(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open a file as it lies there, for looking only: no lock is taken, and no journal is looked at.

    Args:
        path: a file that no connection of this process has open: closing this one drops its locks.
        vfs: the name of a registered SQLite VFS, for tests that inject faults.

    Raises:
        apsw.Error: it cannot be opened.
    """
    from urllib.parse import quote

    name = f"file:{quote(str(path))}?immutable=1"
    return _set_up(name, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs, None)


def patiently(act: Callable[[], T]) -> T:
    """Do what SQLite refuses at once, and waits for nothing, while another connection is at the same.

    Raises:
        apsw.BusyError: it is at that for longer than `BUSY_MS`.
    """
    until = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            return act()
        except apsw.BusyError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)


def temporary_connection(name: str = "") -> apsw.Connection:
    """A database of this process alone, for looking at a copy; it is gone when its last connection is closed.

    Args:
        name: what further connections to it are opened by; it is in memory then. Without a name there is one
            connection, and SQLite keeps it in memory, or in a temporary file if it is large.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    return _set_up(f"/{name}" if name else "", flags, "memdb" if name else None, None)


def _set_up(name: str, flags: int, vfs: str | None, synchronous: Durability | None) -> apsw.Connection:
    connection = apsw.Connection(name, flags=flags, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_MS)
        # Nothing in the file is to be trusted to run code (https://www.sqlite.org/security.html).
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        # A plan does not follow from values. SQLite parses and plans a statement again at each execution, else, if a
        # value of it is compared with what an index says of its rows (`WHERE rid > 0`): a fifth of what a run costs.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        run_script(connection, "PRAGMA cell_size_check = ON")
        if synchronous is None:
            # Called now and then while a statement runs, so that Ctrl-C ends one that a hostile file makes endless.
            connection.set_progress_handler(lambda: False, STEPS)
            keep_journal(connection)
        else:
            run_script(connection, f"PRAGMA synchronous = {synchronous}")
    except BaseException:
        connection.close()
        raise
    return connection


def keep_journal(connection: apsw.Connection) -> None:
    """Let the write-ahead log lie when the connection is closed: it is neither played into the file nor removed."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def refuse_foreign_schema(connection: apsw.Connection) -> None:
    """See that a file holds stored tables and indexes only: a view by a table's name could compute without an end.

    Raises:
        apsw.CorruptError: it holds a view, a trigger or a virtual table, which perdure never makes.
    """
    found: Any = connection.execute(
        "SELECT type, name FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR rootpage IS NULL OR rootpage < 1"
    ).fetchone()
    if found is not None:
        raise apsw.CorruptError(f"it holds the {found[0]} {found[1]!r}, which perdure never makes")


def run_script(connection: apsw.Connection, statements: str) -> None:
    """Run every statement of a text: execute() alone stops at the first one that returns a row, as many PRAGMAs do."""
    connection.execute(statements).fetchall()
