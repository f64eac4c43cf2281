"""The functions that a run calls, as they were then: what their parameters are called, and where they stand."""

from __future__ import annotations

from typing import Any

import msgspec
from apsw import Connection

from perdure.core.function_code import CodeRow
from perdure.core.records import RunRecord
from perdure.store import code, sessions
from perdure.store.runs import Store


class FunctionView(msgspec.Struct, frozen=True):
    """A function of a run.

    Attributes:
        kind: "workflow" for that of the run itself; else "step", or the kind of a clean-up.
        name: the name that the records have.
        parameters: their names, in order.
        module, qualname: whose function it is.
        file: its source file.
        line: the first of it, from 1; 0 if that is not known.
        source: the digest of the file then, in hexadecimal digits.
        options: those that are not as usual; times in seconds.
    """

    kind: str
    name: str
    parameters: list[str]
    module: str
    qualname: str
    file: str
    line: int
    source: str | None
    options: dict[str, Any]


def functions_of(store: Store, run: RunRecord) -> list[FunctionView]:
    """The workflow of a run, if that is known, and the steps that it has called.

    Raises:
        StateError: the file cannot be read.
    """

    def question(connection: Connection) -> list[FunctionView]:
        found = [_view(kind, name, row) for (kind, name), row in code.of_run(connection, run.rid).items()]
        digests = [one.row.script for one in sessions.list_of(connection, run.rid, store.path)]
        for digest in reversed(digests):
            if digest is not None and (own := code.of_workflow(connection, digest, run.workflow)) is not None:
                return [_view("workflow", run.workflow, own), *found]
        return found

    views: list[FunctionView] = store.journal.read(question)
    return views


def _view(kind: str, name: str, row: CodeRow) -> FunctionView:
    source = None if row.source is None else row.source.hex()
    about = (row.parameters, row.module, row.qualname, row.file, row.line)
    return FunctionView(kind, name, *about, source, row.options)
