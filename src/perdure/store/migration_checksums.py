"""Version 4 of the state file: every column of every row is under a checksum.

What matched its checksum before gets the new one. What did not is left as it is, and so does not match the new one.
The checksums of before are here as they were; those of today are core/checksums.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import apsw
import msgspec

from perdure.core.letter_record import LetterRecord
from perdure.core.records import AttemptRecord, FunctionRecord, RunRecord, StepRecord
from perdure.store.rows import UNREADABLE, sealed

PORTION = 500
"""Rows that are looked at together."""

Seal = Callable[[list[Any]], int | None]
"""The checksum of a row, the last of whose values is that of before; None for a row that did not match it."""


def step_checksum_3(kind: str, name: str, key: bytes, n: int, status: str, given: bytes, output: bytes) -> int:
    """A step's in versions 1 to 3; version 1 had no kinds."""
    about = f"{name}\0{n}\0{status}" if kind == "step" else f"{name}\0{n}\0{status}\0{kind}"
    return crc32(output, crc32(given, crc32(key, crc32(about.encode()))))


def _attempt_3(name: str, key: bytes, n: int, number: int, given: bytes, error: bytes) -> int:
    return crc32(error, crc32(given, crc32(key, crc32(f"{name}\0{n}\0{number}".encode()))))


def _run_3(id: str, workflow: str, key: bytes, status: str, given: bytes, output: bytes | None) -> int:
    return crc32(output or b"", crc32(given, crc32(key, crc32(f"{id}\0{workflow}\0{status}".encode()))))


def _letter_3(seq: int, given: bytes | None, result: bytes | None) -> int:
    return crc32(result or b"", crc32(given or b"", crc32(f"{seq}\0{given is None}\0{result is None}".encode())))


def _function_3(kind: str, name: str, module: str, qualname: str, file: str) -> int:
    return crc32("\0".join((kind, name, module, qualname, file)).encode("utf-8", "surrogateescape"))


def _step(row: list[Any]) -> int | None:
    run, *rest = row
    record = StepRecord(*[*rest[:10], rest[11], rest[10]])
    known = step_checksum_3(record.kind, record.name, record.key, record.n, record.status, record.input, record.output)
    return record.checksum(run) if record.crc == known else None


def _attempt(row: list[Any]) -> int | None:
    run, *rest = row
    record = AttemptRecord(*rest)
    known = _attempt_3(record.name, record.key, record.n, record.number, record.input, record.error)
    return record.checksum(run) if record.crc == known else None


def _run(row: list[Any]) -> int | None:
    *values, crc = row
    record = RunRecord(*[*values[:16], crc, *values[16:]])
    known = _run_3(record.id, record.workflow, record.key, record.status, record.input, record.output)
    return record.checksum() if crc == known else None


def _letter(row: list[Any]) -> int | None:
    record = LetterRecord(*row)
    return record.checksum() if record.crc == _letter_3(record.seq, record.input, record.result) else None


def _function(row: list[Any]) -> int | None:
    run, *rest = row
    record = FunctionRecord(*rest)
    known = _function_3(record.kind, record.name, record.module, record.qualname, record.file)
    return record.checksum(run) if record.crc == known else None


def _first(row: list[Any]) -> int | None:
    """It had none."""
    *values, _ = row
    crc: int = sealed(*values)[-1]
    return crc


class _Table(msgspec.Struct, frozen=True):
    """How a table is gone through: its key, its columns with the checksum as the last one, and which are texts."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    texts: frozenset[str]
    seal: Seal


def _table(name: str, key: str, columns: str, texts: str, seal: Seal) -> _Table:
    return _Table(name, tuple(key.split()), tuple(columns.split()), frozenset(texts.split()), seal)


TABLES = (
    _table(
        "run",
        "rid",
        "rid id script path workflow key named parent status holder epoch input output created started ended "
        "stop forked_from forked_at forked_last superseded_by crc",
        "id script path workflow status",
        _run,
    ),
    _table(
        "step",
        "run seq",
        "run seq name key n status input output started ms attempts kind crc",
        "name status kind",
        _step,
    ),
    _table(
        "attempt",
        "run epoch name key n number",
        "run epoch name key n number counted input error started ms crc",
        "name",
        _attempt,
    ),
    _table(
        "dead_letter",
        "lid",
        "lid run seq status created changed redriven holder input result exported crc",
        "status",
        _letter,
    ),
    _table(
        "function",
        "run kind name",
        "run kind name module qualname file crc",
        "kind name module qualname file",
        _function,
    ),
    _table("holder", "hid", "hid token pid host started gone crc", "token host", _first),
    _table("lock", "name", "name holder fence since run crc", "name", _first),
    _table(
        "crash",
        "run name key n token",
        "run name key n token attempt started died cause crc",
        "name token cause",
        _first,
    ),
    _table("exempt", "run first last", "run first last crc", "", _first),
)


def seal_all(connection: apsw.Connection) -> None:
    """Compute the checksums of all rows, inside of the transaction that migrates."""
    for table in TABLES:
        put = f"UPDATE {table.name} SET crc = ? WHERE {_same(table)}"
        for rows in _portions(connection, table):
            changed = [(crc, *_key(table, row)) for row in rows if (crc := _sealed(table, row)) is not None]
            connection.executemany(put, changed)


def _sealed(table: _Table, row: tuple[Any, ...]) -> int | None:
    try:
        values = [
            bytes(value).decode() if column in table.texts else value
            for column, value in zip(table.columns, row, strict=True)
        ]
        return table.seal(values)
    except UNREADABLE:  # a column holds what was never written to it
        return None


def _portions(connection: apsw.Connection, table: _Table) -> Iterator[list[tuple[Any, ...]]]:
    """Texts come as bytes: those that were damaged are none any more."""
    columns = ", ".join(f"CAST({each} AS BLOB)" if each in table.texts else each for each in table.columns)
    key = ", ".join(table.key)
    start = f"SELECT {columns} FROM {table.name} ORDER BY {key} LIMIT {PORTION}"
    after = f"SELECT {columns} FROM {table.name} WHERE ({key}) > ({_marks(table)}) ORDER BY {key} LIMIT {PORTION}"
    rows: list[tuple[Any, ...]] = connection.execute(start).fetchall()
    while rows:
        yield rows
        at = _key(table, rows[-1])
        rows = connection.execute(after, at).fetchall()
        if rows and _key(table, rows[-1]) == at:
            return  # a damaged index that leads in a circle


def _key(table: _Table, row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(row[table.columns.index(each)] for each in table.key)


def _mark(table: _Table, column: str) -> str:
    return "CAST(? AS TEXT)" if column in table.texts else "?"


def _marks(table: _Table) -> str:
    return ", ".join(_mark(table, each) for each in table.key)


def _same(table: _Table) -> str:
    return " AND ".join(f"{each} = {_mark(table, each)}" for each in table.key)
