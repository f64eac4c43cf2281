"""Functions, as a version of their file had them: what their parameters are called, and where they stand."""

from __future__ import annotations

import hashlib
from typing import Any

import apsw
import msgspec

from perdure.store.rows import sealed, sound
from perdure.store.statements import load

_SQL = load("code.sql")


class CodeRow(msgspec.Struct, frozen=True):
    """A function of a user.

    Attributes:
        module, qualname: whose function it is.
        file: its source file; empty if it has none.
        line: the first of it, from 1; 0 if that is not known.
        parameters: their names, in order.
        options: those of the step or workflow that are not as usual, and its kind and name.
        source: the digest of the file (8 bytes), None if it could not be read.
    """

    module: str
    qualname: str
    file: str
    line: int
    parameters: list[str]
    options: dict[str, Any]
    source: bytes | None

    def values(self) -> tuple[Any, ...]:
        """The columns of its row without digest and checksum."""
        json = msgspec.json.encode
        file = self.file.encode("utf-8", "replace").decode()
        said = (json(self.parameters).decode(), json(self.options).decode())
        return self.module, self.qualname, file, self.line, *said, self.source

    def digest(self) -> bytes:
        """What the row goes by: of what it says."""
        return hashlib.blake2b(msgspec.msgpack.encode(self.values()), digest_size=8).digest()

    def put(self) -> tuple[str, tuple[Any, ...]]:
        """The statement that writes it down, and its values."""
        return _SQL["put"], sealed(self.digest(), *self.values())


class Code(msgspec.Struct, frozen=True):
    """What is known of a function, and the digest that it goes by."""

    row: CodeRow
    digest: bytes


def get(connection: apsw.Connection, digest: bytes) -> CodeRow | None:
    """What a digest stands for; None if it is not there, or damaged: nothing depends on it."""
    row: Any = connection.execute(_SQL["get"], (digest,)).fetchone()
    return None if row is None else _row(row)


def of_run(connection: apsw.Connection, rid: int) -> dict[tuple[str, str], CodeRow]:
    """The functions that a run has called, by the kind of the record and the name."""
    rows: list[Any] = connection.execute(_SQL["of_run"], (rid,)).fetchall()
    return {(kind, name): found for kind, name, *row in rows if (found := _row(row)) is not None}


def of_workflow(connection: apsw.Connection, source: bytes, workflow: str) -> CodeRow | None:
    """The function of a workflow, in that version of its file."""
    rows: list[Any] = connection.execute(_SQL["of_source"], (source,)).fetchall()
    for row in rows:
        found = _row(row)
        if found is not None and (found.options.get("kind"), found.options.get("name")) == ("workflow", workflow):
            return found
    return None


def _row(row: Any) -> CodeRow | None:
    if not sound(row):
        return None
    _, module, qualname, file, line, parameters, options, source, _ = row
    try:
        names = msgspec.json.decode(parameters, type=list[str])
        return CodeRow(module, qualname, file, line, names, msgspec.json.decode(options, type=dict[str, Any]), source)
    except msgspec.MsgspecError:
        return None
