"""Functions, as a version of their file had them: what their parameters are called, and where they stand."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from perdure.core.function_code import Code, CodeRow
from perdure.store.rows import sealed, sound
from perdure.store.statements import load

_SQL = load("code.sql")


def put(code: Code) -> tuple[str, tuple[Any, ...]]:
    """The statement that writes a function down, and its values."""
    return _SQL["put"], sealed(code.digest, *code.row.values())


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
