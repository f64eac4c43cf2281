"""Whatever decides in a state file is under a checksum: a change of any column of any row is noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from old_state_files import old_file

from perdure.core.records import FunctionRecord
from perdure.errors import StateCorrupt
from perdure.store import (
    batches,
    code,
    command_lines,
    crashes,
    listing,
    lives,
    published,
    queue,
    schedule_rows,
    sessions,
    signals,
    spending,
    waits,
    workflow_defaults,
)
from perdure.store.rows import sealed
from perdure.store.runs import Store
from perdure.store.statements import HERE


def columns_and_keys() -> dict[str, tuple[list[str], list[str]]]:
    """The columns of every table that a new state file has, and its key."""
    connection = sqlite3.connect(":memory:")
    connection.executescript((HERE / "schema.sql").read_text())
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {}
    for table in tables:
        info = connection.execute(f"PRAGMA table_info({table})").fetchall()
        key = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        found[table] = ([row[1] for row in info], key)
    connection.close()
    # Pieces and artifacts are found by their digest, and have tests of their own.
    for table in ("sqlite_sequence", "piece", "piece_use", "artifact_use"):
        del found[table]
    return found


TABLES = columns_and_keys()
PAYLOADS = ("input", "output", "result", "verdict", "stopped", "fingerprint", "code", "defaults")
TEXTS = (
    *("event", "topic", "id", "reason", "queue", "queue_key", "dedup", "hold", "tz"),
    *("waits", "label", "spent", "delayed_by", "error", "outcome", "cause"),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with rows in every table, of which there is not one in the older files."""
    path = old_file(tmp_path_factory.mktemp("sound"))
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO crash VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sealed(1, *CRASH))
    spend = ("1-0123456789abcdef", 1, 1, "charge", bytes(16), 0, 5, 6, 7, 8, "[]")
    connection.execute("INSERT INTO spend VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sealed(*spend))
    connection.execute("INSERT INTO budget VALUES (?, ?, ?, ?, ?, ?)", sealed(1, 5, 6, 7, 8))
    connection.execute("INSERT INTO life VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sealed(1, *CRASH))
    connection.execute("INSERT INTO lock VALUES (?, ?, ?, ?, ?, ?)", sealed("one", 1, 3, 5.0, 1))
    connection.execute("INSERT INTO exempt VALUES (?, ?, ?, ?)", sealed(1, 2, 4))
    place = FunctionRecord("step", "charge", "__main__", "charge", "orders.py", defaults=b"\x80").sealed(1)
    connection.execute("INSERT INTO function VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (1, *msgspec.structs.astuple(place)))
    for table, row in TIME_AND_EVENTS.items():
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * (len(row) + 1))})", sealed(*row))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


CRASH = ("charge", bytes(16), 0, "1-0123456789abcdef", 1, 5.0, 6.0, "SIGKILL")

TIME_AND_EVENTS: dict[str, tuple[Any, ...]] = {
    "wait": (1, "perdure.wait:paid", bytes(16), 0, 0, "paid", "", None, 5.0, 6.0),
    "signal": (1, 1, "paid", "", "first", b"x", 5.0, "stored", None, None),
    "queue": ("mail", 5, 1, 10, 60.0, 0, 5.0, 6.0),
    "queue_turn": ("mail", 5, 3),
    "schedule": (
        *("nightly", "jobs", "/jobs.py", "nightly", "0 3 * * *", "UTC", "skip", "one", 86400.0, 0.0, None),
        *(bytes(16), b"x", 5.0, 6.0, 7.0, 6.0, "active", "script", 5.0),
    ),
    "tick": ("nightly", 6.0, 6.0, 1, "started", None, 1, "UTC", 0, None, 6.5),
    "published": (1, "progress", b"x", 5.0),
    "session": (1, 1, 1, 5.0, 6.0, "done", None, "0.1.0", bytes(8), 1000),
    "batch": (1, 1, "charge", 10, 2, 5.0, None),
    "code": (bytes(8), "__main__", "charge", "orders.py", 7, '["card"]', "{}", bytes(8)),
    "workflow_default": ("jobs", "nightly", b"\x80"),
    "deed": (1, 5.0, "ann", "command", "cancel", "orders-1", ""),
    "command_line": (1, b"\x92\x91\xc4\x01a\x90"),
    "keyed_request": (bytes(16), bytes(16), 5.0, "1-0123456789abcdef", 200, "application/json", b"{}"),
}


@pytest.fixture
def path(tmp_path: Path, sound: bytes) -> Path:
    path = tmp_path / "state.db"
    path.write_bytes(sound)
    return path


def other(value: Any, column: str) -> Any:
    """A value of the same type that is another one."""
    match value:
        case None:
            return b"x" if column in PAYLOADS else "x" if column in TEXTS else 1
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:] if value else b"x"
        case str():
            return chr(ord(value[0]) ^ 1) + value[1:] if value else "x"
        case _:
            return value + 1


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    store = Store(path)
    try:
        yield store
    finally:
        store.close()


def damaged(store: Store) -> int:
    return sum(not row.intact for row in listing.rows(store))


def test_a_sound_file_has_rows_in_every_table_and_no_damage(path: Path) -> None:
    """Otherwise the tests below prove nothing."""
    with opened(path) as store:
        assert damaged(store) == 0
    connection = sqlite3.connect(path)
    assert all(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)
    connection.close()


@contextmanager
def change(connection: Any, table: str, column: str, changed: Callable[[Any], Any]) -> Iterator[None]:
    """In the block, a row of a table has another value in that column."""
    connection.execute("PRAGMA ignore_check_constraints = ON")
    assert {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} == set(TABLES[table][0])
    key = TABLES[table][1]
    before, *row = connection.execute(f"SELECT {', '.join((column, *key))} FROM {table} LIMIT 1").fetchone()
    after = changed(before)
    same = " AND ".join(f"{each} IS ?" for each in key)
    there = [after if each == column else value for each, value in zip(key, row, strict=True)]
    for value, place in ((after, row), (before, there)):
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {same}", (value, *place))
        assert connection.execute("SELECT changes()").fetchone() == (1,)
        if value is after:
            yield


@pytest.mark.parametrize("table", TABLES)
def test_a_column_of_one_row_is_changed(path: Path, table: str) -> None:
    """By one bit, or to something where nothing was: doctor finds that row, whichever column it is."""

    def changed(value: Any) -> Any:
        found = other(value, column)
        return found + 1000 if isinstance(found, int) else found  # no other row's

    unseen = []
    with opened(path) as store:
        for column in TABLES[table][0]:
            with change(store.journal._connection, table, column, changed):
                if not damaged(store):
                    unseen.append(column)
        assert damaged(store) == 0
    assert unseen == []


def test_a_row_comes_before_all_that_perdure_writes(path: Path) -> None:
    """Its number is negative, or its text empty: doctor does not begin behind it, in whichever table it is."""
    unseen = []

    def changed(value: Any) -> Any:
        return -5 if isinstance(value, int) else type(value)()

    with opened(path) as store:
        for table, (_, key) in TABLES.items():
            with change(store.journal._connection, table, key[0], changed):
                if not damaged(store):
                    unseen.append(table)
    assert unseen == []


@pytest.mark.parametrize("column", TABLES["code"][0])
def test_a_function_is_not_left_out(path: Path, column: str) -> None:
    """What is known of a function that a run has called is shown as it was written, or the error is named."""
    connection = sqlite3.connect(path)
    place = FunctionRecord("step", "refund", "__main__", "refund", "orders.py", code=bytes(8)).sealed(1)
    connection.execute("INSERT INTO function VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (1, *msgspec.structs.astuple(place)))
    connection.commit()
    connection.close()

    def called() -> list[str]:
        store = Store(path, read_only=True)
        try:
            return [name for _, name in store.journal.read(lambda connection: code.of_run(connection, 1, path))]
        finally:
            store.close()

    assert called() == ["refund"]
    connection = sqlite3.connect(path, isolation_level=None)
    with change(connection, "code", column, lambda value: other(value, column)), pytest.raises(StateCorrupt):
        called()
    connection.close()


@pytest.mark.parametrize("digest", [bytes(8), None], ids=["another function's", "none"])
def test_a_call_is_not_shown_with_the_function_of_another(path: Path, digest: bytes | None) -> None:
    """Both rows of functions are as they were written: the row of the call says that it was edited."""
    connection = sqlite3.connect(path)
    fresh = b"12345678"
    connection.execute(
        "INSERT INTO code VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        sealed(fresh, "__main__", "refund", "orders.py", 9, '["order"]', "{}", bytes(8)),
    )
    place = FunctionRecord("step", "refund", "__main__", "refund", "orders.py", code=fresh).sealed(1)
    connection.execute("INSERT INTO function VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (1, *msgspec.structs.astuple(place)))
    connection.execute("UPDATE function SET code = ? WHERE name = 'refund'", (digest,))
    connection.commit()
    connection.close()
    store = Store(path, read_only=True)
    try:
        with pytest.raises(StateCorrupt):
            store.journal.read(lambda connection: code.of_run(connection, 1, path))
    finally:
        store.close()


@pytest.mark.parametrize("column", TABLES["holder"][0])
def test_the_process_of_a_session_is_shown_as_it_was_written(path: Path, column: str) -> None:
    """What is taken from another table's row is under that row's checksum."""

    def shown() -> list[int]:
        store = Store(path, read_only=True)
        try:
            return [one.pid for one in store.journal.read(lambda connection: sessions.list_of(connection, 1, path))]
        finally:
            store.close()

    assert len(shown()) == 1

    def changed(value: Any) -> Any:
        return value + 1000 if isinstance(value, int) else other(value, column)

    connection = sqlite3.connect(path, isolation_level=None)
    with change(connection, "holder", column, changed), pytest.raises(StateCorrupt):
        shown()
    connection.close()


READERS: dict[str, Callable[[Store, Any], object]] = {
    "batch": lambda store, db: batches.list_of(db, 1, store.path),
    "budget": lambda store, db: spending.raised_bounds(db, 1, store.path),
    "lock": lambda store, db: store.locks.held(db),
    "queue": lambda store, db: queue.get(store.path, db, "mail"),
    "schedule": lambda store, db: schedule_rows.get(db, "nightly", store.path),
    "session": lambda store, db: sessions.list_of(db, 1, store.path),
    "spend": lambda store, db: spending.of_calls(db, 1, store.path),
    "wait": lambda store, db: signals.waits_for(store, db, 1, "paid", ""),
    "wait, stands": lambda store, db: waits.standing(store, db, 1),
    "signal": lambda store, db: signals.known(store, db, 1, "first"),
    "crash": lambda store, db: crashes.list_of(store, 1),
    "life": lambda store, db: lives.list_of(store, 1),
    "published": lambda store, db: published.of_run(store, 1),
    "command_line": lambda store, db: command_lines.get(db, 1, store.path),
    "workflow_default": lambda store, db: workflow_defaults.known(store.journal, store.path, "jobs", "nightly"),
}


def test_no_row_is_used_that_is_not_as_it_was_written(path: Path) -> None:
    """Whoever reads a table, for a decision or for a view, is refused with a named error, and reads sound rows."""

    def read(reader: Callable[[Store, Any], object]) -> str:
        try:
            reader(store, store.journal._connection)
        except StateCorrupt:
            return "refused"
        return "read"

    store = Store(path)
    try:
        assert {table: read(reader) for table, reader in READERS.items()} == dict.fromkeys(READERS, "read")
        for table in {name.partition(",")[0] for name in READERS}:
            store.journal._connection.execute(f"UPDATE {table} SET crc = crc + 1")
        assert {table: read(reader) for table, reader in READERS.items()} == dict.fromkeys(READERS, "refused")
    finally:
        store.close()
