"""What is changed in a file: its bytes, a column of a row, a part of a document."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

Mutate = Callable[[Path, random.Random], str]
"""Changes a project whose state file lies at that path; says how."""

VALUES: dict[str, list[Any]] = {
    "TEXT": [b"", b"x", b"\xff\xfe", b"done", b"running", b"failed", b"/etc/passwd", b"\x00", b"../../x", b"9" * 400],
    "BLOB": [b"", b"\xc1", bytes(16), b"\x93\x01", b"\xdd\xff\xff\xff\xff", b"\x81\xa1x\xc0", bytes(8), None],
    "INTEGER": [0, 1, 2, 3, -1, 2**31, 2**63 - 1, -(2**63), None],
    "REAL": [0.0, -1.0, 1e300, 1.7e9, float("inf"), float("-inf"), None],
}
WORDS = [
    b"",
    b"\x00",
    b"\xff\xff\xff\xff",
    b"[" * 3000,
    b"{",
    b'"',
    b"null",
    b"true",
    b"1e999",
    b"\n",
    b"..",
    b"\xf0\x9f",
]
DATA = [None, True, -1, 0, 1.5, 1e300, "", "x", "\x00", "\u202e", [], {}, [[]], {"a": 1}, "9" * 300, 10**30]


def state_bytes(state: Path, chance: random.Random) -> str:
    """The state file."""
    return _bytes(state, chance)


def services_bytes(state: Path, chance: random.Random) -> str:
    """The file of breakers and rates."""
    return _bytes(state.with_name("state.db-services"), chance)


def state_column(state: Path, chance: random.Random) -> str:
    """A column of a row of the state file."""
    return _column(state, chance)


def services_column(state: Path, chance: random.Random) -> str:
    """A column of a row of the file of breakers and rates."""
    return _column(state.with_name("state.db-services"), chance)


def state_schema(state: Path, chance: random.Random) -> str:
    """What the state file says of its tables and of itself."""
    connection = sqlite3.connect(state)
    objects = connection.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").fetchall()
    kind, name = chance.choice(objects)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] or ["x"]
    other = chance.choice([each for each in objects if each[0] == "table"])[1]
    statement = chance.choice(
        [
            f"DROP {kind} {name}",
            f"ALTER TABLE {other} RENAME TO other",
            f"ALTER TABLE {name} RENAME COLUMN {chance.choice(columns)} TO other",
            f"ALTER TABLE {other} ADD COLUMN other TEXT DEFAULT 'x'",
            f"DROP TABLE {other}; CREATE VIEW {other} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) "
            "SELECT x FROM c",
            f"DROP TABLE {other}; CREATE TABLE {other} (x)",
            f"CREATE TRIGGER t AFTER UPDATE ON {other} BEGIN DELETE FROM step; END",
            f"CREATE VIEW v AS SELECT * FROM {other}",
            f"PRAGMA user_version = {chance.choice([0, 1, 5, 9, 99, -1])}",
            f"PRAGMA application_id = {chance.choice([0, 1])}",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema "
            f"SET rootpage = {chance.randrange(90)} WHERE name = '{name}'",
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema "
            f"SET sql = '{chance.choice(['', 'x', 'CREATE TABLE x(y)'])}' WHERE name = '{name}'",
        ]
    )
    try:
        connection.executescript(statement)
    except sqlite3.Error:
        connection.close()
        return state_schema(state, chance)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return statement


def flight(state: Path, chance: random.Random) -> str:
    """A flight record."""
    return _bytes(_one_of(state.with_name("state.db-flight"), "*.rec", chance), chance)


def logs(state: Path, chance: random.Random) -> str:
    """What attempts have printed."""
    return _bytes(_one_of(state.with_name("state.db-logs"), "*.log", chance), chance)


def artifact(state: Path, chance: random.Random) -> str:
    """A file of large data."""
    return _bytes(_one_of(state.with_name("state.db-artifacts"), "*", chance), chance)


def spool(state: Path, chance: random.Random) -> str:
    """An alert that waits, or what is known of alerts that were sent: by its bytes or by what it says."""
    path = _one_of(state.with_name("state.db-alerts"), "*/*.json", chance)
    if chance.random() < 0.5:
        return _bytes(path, chance)
    data = json.loads(path.read_bytes())
    about = _part(data, chance)
    path.write_text(json.dumps(data), encoding="utf-8")
    return f"{path.name}: {about}"


def project_settings(state: Path, chance: random.Random) -> str:
    """pyproject.toml."""
    return _bytes(state.with_name("pyproject.toml"), chance)


def _one_of(folder: Path, pattern: str, chance: random.Random) -> Path:
    return chance.choice(sorted(path for path in folder.glob(pattern) if path.is_file()))


def _bytes(path: Path, chance: random.Random) -> str:
    """Bits and bytes that are changed, put in, left out; most of a small database is free, and is left alone."""
    content = bytearray(path.read_bytes())
    about = []
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        at = _used(content, chance)
        match chance.randrange(10):
            case 0:
                about.append(f"{at}: cut off")
                del content[at:]
                break
            case 1:
                word = chance.choice(WORDS)
                about.append(f"{at}: {word[:20]!r} over it")
                content[at : at + len(word)] = word
            case 2 if len(content) < 20_000:
                word = chance.choice(WORDS)
                about.append(f"{at}: {word[:20]!r} put in")
                content[at:at] = word
            case 3:
                end = at + chance.choice([1, 8, 200, 4096])
                about.append(f"{at} to {end}: zeros")
                content[at:end] = bytes(len(content[at:end]))
            case 4:
                to, size = _used(content, chance), chance.choice([4, 40, 4096])
                about.append(f"{at}: {size} bytes copied to {to}")
                part = content[at : at + size]
                content[to : to + len(part)] = part
            case 5:
                byte = chance.randrange(256)
                about.append(f"{at}: byte {byte}")
                content[at] = byte
            case _:
                bit = chance.randrange(8)
                about.append(f"{at}: bit {bit}")
                content[at] ^= 1 << bit
        if not content:
            break
    path.write_bytes(content)
    return f"{path.name}: {'; '.join(about)}"


def _used(content: bytearray, chance: random.Random) -> int:
    """A place that is not free."""
    for _ in range(200):
        at = chance.randrange(len(content))
        if content[at]:
            break
    return at


def _column(path: Path, chance: random.Random) -> str:
    """A row gets another value in one column, which its table takes: SQLite's own checks are off."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    try:
        while True:
            if about := _changed(connection, path, chance):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return about
    finally:
        connection.close()


def finds_rows(state: Path) -> set[str]:
    """The columns by which rows are found, as "table.column": their keys, and what indexes are of."""
    connection = sqlite3.connect(state)
    found = set()
    for table, text in connection.execute("SELECT tbl_name, coalesce(sql, '') FROM sqlite_schema").fetchall():
        for row in connection.execute(f"PRAGMA table_info({table})").fetchall():
            if row[5] or (text.startswith("CREATE INDEX") and re.search(rf"\b{row[1]}\b", text.partition("(")[2])):
                found.add(f"{table}.{row[1]}")
        for row in connection.execute(f"PRAGMA index_list({table})").fetchall():
            for each in connection.execute(f"PRAGMA index_info({row[1]})").fetchall():
                found.add(f"{table}.{each[2]}")
    connection.close()
    return found


class _Table(NamedTuple):
    """One table of a file as it was built.

    Args:
        name: its own.
        columns: the name and the type of each.
        keys: those columns by which a row is found.
        rows: the keys of every row.
        values: what stands in each column.
    """

    name: str
    columns: list[tuple[str, str]]
    keys: list[str]
    rows: list[tuple[Any, ...]]
    values: dict[str, list[Any]]


@cache
def tables(path: Path) -> list[_Table]:
    """Those of a file, asked before it is changed for the first time."""
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    try:
        found = []
        for (raw,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            name = raw.decode()
            if name.startswith("sqlite_"):
                continue
            info = connection.execute(f"PRAGMA table_info({name})").fetchall()
            columns = [(str(row[1], "utf-8"), str(row[2], "utf-8")) for row in info]
            keys = [column for (column, _), row in zip(columns, info, strict=True) if row[5]]
            rows = connection.execute(f"SELECT {', '.join(keys)} FROM {name}").fetchall()
            values = {
                column: [value for (value,) in connection.execute(f"SELECT {column} FROM {name}")]
                for column, _ in columns
            }
            found.append(_Table(name, columns, keys, rows, values))
        return found
    finally:
        connection.close()


def _changed(connection: sqlite3.Connection, path: Path, chance: random.Random) -> str | None:
    table = chance.choice(tables(path))
    if not table.rows:
        return None
    column, kind = chance.choice(table.columns)
    value = chance.choice([*table.values[column], *VALUES.get(kind, [b"x", 1])])
    row = chance.choice(table.rows)
    same = " AND ".join(f"CAST({key} AS BLOB) = CAST(? AS BLOB)" for key in table.keys)
    text = "CAST(? AS TEXT)" if kind == "TEXT" and value is not None else "?"
    try:
        connection.execute(
            f"UPDATE {table.name} SET {column} = {text} WHERE {same} AND {column} IS NOT {text}", (value, *row, value)
        )
        done = connection.total_changes
        connection.commit()
    except sqlite3.IntegrityError:  # of a type that the column does not take, or a number that is another's
        connection.rollback()
        return None
    return f"{table.name}.{column} of {row} = {value!r}" if done else None


def _part(data: Any, chance: random.Random) -> str:
    """One part of a document becomes something else, is left out, or another one is there."""
    places: list[tuple[Any, Any]] = []

    def walk(one: Any) -> None:
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            places.append((one, key))
            if isinstance(one[key], dict | list):
                walk(one[key])

    walk(data)
    holder, key = chance.choice(places)
    if isinstance(holder, dict) and chance.random() < 0.2:
        del holder[key]
        return f"{key!r} left out"
    holder[key] = chance.choice(DATA)
    return f"{key!r} = {holder[key]!r}"


MUTATIONS: dict[str, tuple[Mutate, int]] = {
    "state file, a column": (state_column, 6),
    "state file, bytes": (state_bytes, 6),
    "state file, schema": (state_schema, 1),
    "services, a column": (services_column, 1),
    "services, bytes": (services_bytes, 1),
    "flight record": (flight, 2),
    "spool": (spool, 2),
    "logs": (logs, 1),
    "artifact": (artifact, 1),
    "settings": (project_settings, 1),
}
"""Each kind, and how often of the sum."""
