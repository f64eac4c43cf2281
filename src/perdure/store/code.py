"""Functions, as a version of their file had them: what their parameters are called, and where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.function_code import Code, CodeRow
from perdure.core.records import FunctionRecord
from perdure.store import sessions
from perdure.store.rows import checked_of_run, corrupt, sealed, sound
from perdure.store.statements import load

_SQL = load("code.sql")
_CALLED = 9
"""So many columns of a row are of the run's call of it; the others are the function's."""


def put(code: Code) -> tuple[str, tuple[Any, ...]]:
    """The statement that writes a function down, and its values."""
    return _SQL["put"], sealed(code.digest, *code.row.values())


def of_run(connection: apsw.Connection, rid: int, path: Path) -> dict[tuple[str, str], CodeRow]:
    """The functions that a run has called, if what they look like is known, by the kind of the record and the name.

    Raises:
        StateCorrupt: what the file says of one is not as it was written, or is not there.
    """
    found: dict[tuple[str, str], CodeRow] = {}
    for row in connection.execute(_SQL["of_run"], (rid,)).fetchall():
        called = checked_of_run(FunctionRecord, row[:_CALLED], path)
        if called.code is not None:
            found[called.kind, called.name] = _row(row[_CALLED:], path)
    return found


def functions_of(connection: apsw.Connection, rid: int, workflow: str, path: Path) -> list[tuple[str, str, CodeRow]]:
    """Kind, name and function of the workflow of a run, if that is known, and of the steps that it has called.

    Raises:
        StateCorrupt: what the file says of them is not as it was written.
    """
    found = [(kind, name, row) for (kind, name), row in of_run(connection, rid, path).items()]
    for one in reversed(sessions.each_of(connection, rid)):
        if (
            not isinstance(one, int)
            and one.row.script is not None
            and (own := of_workflow(connection, one.row.script, workflow, path)) is not None
        ):
            return [("workflow", workflow, own), *found]
    return found


def of_workflow(connection: apsw.Connection, source: bytes, workflow: str, path: Path) -> CodeRow | None:
    """The function of a workflow, in that version of its file.

    Raises:
        StateCorrupt: what the file says of a function of that version is not as it was written.
    """
    rows: list[Any] = connection.execute(_SQL["of_source"], (source,)).fetchall()
    for row in rows:
        found = _row(row, path)
        if (found.options.get("kind"), found.options.get("name")) == ("workflow", workflow):
            return found
    return None


def _row(row: Any, path: Path) -> CodeRow:
    if not sound(row):
        raise corrupt(path)
    _, module, qualname, file, line, parameters, options, source, _ = row
    try:
        names = msgspec.json.decode(parameters, type=list[str])
        return CodeRow(module, qualname, file, line, names, msgspec.json.decode(options, type=dict[str, Any]), source)
    except msgspec.MsgspecError:
        raise corrupt(path) from None
