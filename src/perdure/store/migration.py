"""Brings an older state file up to date: all steps in one transaction, with a copy of the file beside it meanwhile.

A process that dies in the middle leaves the version that was there or the newest one, whole. The copy is for what
SQLite cannot promise, a disk that lies; it is removed once the transaction has committed.
docs/decisions/0014-kinds-and-migrations.md says why.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from perdure.config.os_errors import remove
from perdure.config.ownership import make_file
from perdure.config.script_identity import moved_identity
from perdure.core.policies.verdicts import Stop, pack_stop
from perdure.core.records import DEFER_NOTE, RunRecord
from perdure.core.values.codec import digest, unpack_inputs
from perdure.errors import StateBusy, StateIO
from perdure.store.connection import open_connection, refuse_foreign_schema, run_script, temporary_connection
from perdure.store.folder_sync import sync_folder
from perdure.store.liveness import Liveness
from perdure.store.migration_checksums import seal_all, step_checksum_3
from perdure.store.rows import intact, sealed
from perdure.store.state_files import copy_of
from perdure.store.statements import HERE

MIGRATIONS = HERE / "migrations"

KEPT = 64 << 20
"""Bytes of a file whose copy is kept for who looks again."""

YOUNG = 100_000_000
"""Nanoseconds. A file whose time stamp is younger may change once more under the same stamp."""

PORTION = 500
"""Rows that are looked at together."""


def migrate(connection: apsw.Connection, path: Path, version: int, vfs: str | None = None) -> None:
    """Bring the file up to date, if it is older, or fail and leave it as it was.

    Args:
        connection: open for writing.
        path: the file.
        version: what to reach.
        vfs: the name of a registered SQLite VFS, for tests that inject faults.

    Raises:
        StateBusy: a process of an older perdure uses the file, and would go on to write as its version did.
        StateIO: the copy cannot be made durable.
        apsw.Error: what SQLite says.
    """
    if connection.pragma("user_version") < version:
        _migrate(connection, path, version, vfs)
    # Also what a process has left that died after it had committed.
    remove(copy_of(path, version))


def _migrate(connection: apsw.Connection, path: Path, version: int, vfs: str | None) -> None:
    connection.execute("BEGIN IMMEDIATE")  # from here on there is no other writer, so that the copy is made once
    copy = copy_of(path, version)
    try:
        if connection.pragma("user_version") < version:  # another process may have been faster
            _refuse_while_used(connection, path)
            try:
                _save(path, copy, vfs)
            except OSError as error:
                raise StateIO(
                    f"the state file is of an older version, and no copy of it can be made: {copy} ({error.strerror})",
                    "check the permissions and the space of the folder, then run again; the file is as it was",
                ) from error
            apply(connection, version)
    except BaseException:
        connection.execute("ROLLBACK")
        remove(copy)
        raise
    try:
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise  # and the copy stays: what is on the disk now is not known


def migrated_copy(path: Path, version: int, vfs: str | None = None) -> apsw.Connection:
    """An older file as it is at this moment, brought up to date, for looking only: the file itself stays as it is.

    Args:
        path: the file.
        version: what to reach.
        vfs: the name of a registered SQLite VFS, for tests that inject faults.

    Returns:
        A connection to a database that is no file. The copy of a file that is not large is kept for who asks again,
        until the file changes.

    Raises:
        apsw.Error: what SQLite says, or that the file holds what perdure never makes.
    """
    stamp = None if vfs else _stamp(path)
    with _guard:
        kept = _kept.get(path)
        if kept is not None and kept.stamp == stamp:
            return _for_looking(temporary_connection(kept.name))
        name = f"perdure-copy-{next(_numbers)}" if stamp is not None and path.stat().st_size <= KEPT else ""
        connection = temporary_connection(name)
        try:
            _transfer(path, connection, vfs, shared=bool(name))
            refuse_foreign_schema(connection)
            connection.execute("BEGIN IMMEDIATE")
            apply(connection, version)
            connection.execute("COMMIT")
            found = _for_looking(temporary_connection(name)) if name else _for_looking(connection)
        except BaseException:
            connection.close()
            raise
        if name:
            if kept is not None:
                kept.connection.close()  # who looks at it still has a connection of their own
            _kept[path] = _Kept(stamp, name, connection)
    return found


class _Kept(NamedTuple):
    stamp: Hashable
    name: str
    connection: apsw.Connection


_kept: dict[Path, _Kept] = {}
_guard = threading.Lock()
_numbers = count(1)


def _for_looking(connection: apsw.Connection) -> apsw.Connection:
    connection.pragma("query_only", True)
    return connection


def _stamp(path: Path) -> Hashable:
    """What tells the file, with its journal, from how it was; None if it may change once more under the same stamp."""
    found = []
    for one in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            about = one.stat()
            if time.time_ns() - about.st_mtime_ns < YOUNG:
                return None
            found.append((one.name, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns))
    return tuple(found)


def apply(connection: apsw.Connection, version: int, folder: Path = MIGRATIONS) -> None:
    """Go through every version up to `version`, inside of a transaction.

    Args:
        connection: open for writing.
        version: what to reach.
        folder: holds `0002.sql`, which makes version 2 of version 1, and so on.
    """
    for following in range(connection.pragma("user_version") + 1, version + 1):
        run_script(connection, (folder / f"{following:04}.sql").read_text(encoding="utf-8"))
        for step in STEPS.get(following, ()):
            step(connection)
        connection.pragma("user_version", following)


# -- before the transaction is made -----------------------------------------------------------------------------------


def _refuse_while_used(connection: apsw.Connection, path: Path) -> None:
    """A process that has taken a run under an older version would go on to add rows of that version."""
    liveness = Liveness(path)
    rows: list[Any] = connection.execute("SELECT token, pid, host FROM holder WHERE NOT gone").fetchall()
    for token, pid, host in rows:
        if liveness.lives(token):
            raise StateBusy(
                f"a process of an older perdure uses the state file, which has an older format: {path} "
                f"(pid {pid} on {host})",
                "run again when that process has ended; the file is brought up to date then",
            )


def _save(path: Path, copy: Path, vfs: str | None) -> None:
    copy.unlink(missing_ok=True)  # of a process that died before it had committed: the file itself is whole
    os.close(make_file(copy, os.O_EXCL | os.O_WRONLY))
    target = open_connection(copy, "FULL", vfs=vfs)
    try:
        run_script(target, "PRAGMA journal_mode = MEMORY")
        _transfer(path, target, vfs)
    finally:
        target.close()
    descriptor = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def _transfer(path: Path, target: apsw.Connection, vfs: str | None, *, shared: bool = False) -> None:
    """Copy a state file, page by page; SQLite alone reads it.

    Args:
        path: the file.
        target: where to.
        vfs: the name of a registered SQLite VFS, for tests that inject faults.
        shared: that is in memory, for several connections: it can keep no write-ahead log, and is opened only if its
            header does not ask for one. That of a state file does.
    """
    source = open_connection(path, "FULL", read_only=True, vfs=vfs)
    try:
        if not shared:
            _copy(source, target)
            return
        between = temporary_connection()
        try:
            _copy(source, between)
            data = bytearray(between.serialize("main"))
            data[_MODES] = _NO_LOG
            between.deserialize("main", data)
            _copy(between, target)
        finally:
            between.close()
    finally:
        source.close()


_MODES, _NO_LOG = slice(18, 20), b"\1\1"
"""How a file is written and read: https://sqlite.org/fileformat2.html#file_format_version_numbers"""


def _copy(source: apsw.Connection, target: apsw.Connection) -> None:
    with target.backup("main", source, "main") as backup:
        while not backup.done:
            backup.step(-1)


# -- version 2 --------------------------------------------------------------------------------------------------------


def _settle_kinds(connection: apsw.Connection) -> None:
    """Look at the rows whose names suggest a kind: is it true of them? And put their kind under their checksum.

    A row that did not match its checksum still does not match it afterwards.
    """
    for run, seq, name, key, n, status, given, output, attempts, crc, kind in _suggested(connection):
        before = step_checksum_3("step", name, key, n, status, given, output)
        true = kind if _is_true(kind, key, given, attempts) else "step"
        now = step_checksum_3(true, name, key, n, status, given, output) ^ before ^ crc
        connection.execute("UPDATE step SET kind = ?, crc = ? WHERE run = ? AND seq = ?", (true, now, run, seq))


def _is_true(kind: str, key: bytes, given: bytes, attempts: int) -> bool:
    match kind:
        case "undo":
            return attempts == 0  # nothing was called
        case "defer":
            noted, _ = unpack_inputs(given, (), owner=DEFER_NOTE)
            return [type(each) for each in noted] == [str, str, bytes]
        case "deferred" | "undone":
            return key != digest(given)  # a call of a step is known by its inputs, a clean-up by what it is of
        case _:
            return True


def _suggested(connection: apsw.Connection) -> Iterator[tuple[Any, ...]]:
    query = (
        "SELECT run, seq, name, key, n, status, input, output, attempts, crc, kind FROM step "
        f"WHERE kind <> 'step' AND (run, seq) > (?, ?) ORDER BY run, seq LIMIT {PORTION}"
    )
    at: Any = (-1, -1)
    while rows := connection.execute(query, at).fetchall():
        yield from rows
        at = rows[-1][:2]


def _settle_scripts(connection: apsw.Connection) -> None:
    """A script was its file's name; it becomes its path, as it was last seen."""
    state = Path(connection.filename or "state.db")
    for rid, path in connection.execute("SELECT rid, path FROM run").fetchall():
        connection.execute("UPDATE run SET script = ? WHERE rid = ?", (moved_identity(str(path), state), rid))


def _exempt_what_was_undone(connection: apsw.Connection) -> None:
    """What came after a call that is undone is not held against the script, since that call is made again.

    Version 6 was the first to write that down. The numbers of the calls that were undone are missing.
    """
    runs = connection.execute("SELECT DISTINCT run FROM step WHERE kind = 'undone' AND status = 'done'").fetchall()
    for (rid,) in runs:
        numbers = [seq for (seq,) in connection.execute("SELECT seq FROM step WHERE run = ? ORDER BY seq", (rid,))]
        missing = next((place for place, seq in enumerate(numbers, 1) if place != seq), None)
        if missing is not None:
            row = sealed(rid, missing + 1, numbers[-1])
            connection.execute("INSERT OR IGNORE INTO exempt (run, first, last, crc) VALUES (?, ?, ?, ?)", row)


STOPPED = "perdure.stopped"
"""The name of the attempt rows that said, in versions 3 to 6, what interrupted a run."""


def _move_stops(connection: apsw.Connection) -> None:
    """What interrupted a run stands in its own row now. A row that did not match its checksum still does not."""
    query = f"SELECT {RUN_COLUMNS} FROM run WHERE status = 'running' AND holder IS NULL"
    for row in connection.execute(query).fetchall():
        run = intact(RunRecord, row)
        found: list[Any] = connection.execute(
            "SELECT error, started FROM attempt WHERE run = ? AND name = ? AND started >= ? ORDER BY started",
            (row[0], STOPPED, row[14]),
        ).fetchall()
        if run is not None and found:
            error, started = found[-1]
            run = msgspec.structs.replace(run, stopped=pack_stop(Stop(started, error, b""))).sealed()
            connection.execute("UPDATE run SET stopped = ?, crc = ? WHERE rid = ?", (run.stopped, run.crc, run.rid))
    connection.execute("DELETE FROM attempt WHERE name = ?", (STOPPED,))


LISTS = re.compile(r"(\w+) IN \(('\w+'(?:, '\w+'){2,})\)")
"""Of more than two texts, which SQLite builds a table of whenever it checks a row."""


def _ask_value_by_value(connection: apsw.Connection) -> None:
    """Checks compare with one text after the other.

    The texts of the tables are edited, which is sound for a check that says the same: no row is written anew, be there
    ten million, or one that was damaged and that the check would refuse (https://www.sqlite.org/lang_altertable.html#otheralter).
    """
    tables: list[Any] = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
    edited = [(now, name) for name, sql in tables if (now := LISTS.sub(_value_by_value, sql or "")) != sql]
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    try:
        connection.pragma("writable_schema", 1)
        connection.executemany("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", edited)
    finally:
        run_script(connection, "PRAGMA writable_schema = RESET")
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)


def _value_by_value(found: re.Match[str]) -> str:
    column, values = found.groups()
    return " OR ".join(f"{column} = {value}" for value in values.split(", "))


RUN_COLUMNS = (
    "rid, id, script, path, workflow, key, named, parent, status, holder, epoch, input, output, created, started, "
    "ended, crc, stop, forked_from, forked_at, forked_last, superseded_by"
)

STEPS: dict[int, tuple[Callable[[apsw.Connection], None], ...]] = {
    2: (_settle_kinds,),
    3: (_settle_scripts,),
    4: (seal_all,),
    6: (_exempt_what_was_undone,),
    7: (_move_stops,),
    14: (_ask_value_by_value,),
}
"""By version: what SQL alone cannot do."""
