"""The functions that a run calls, as they were then: what their parameters are called, and where they stand."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.core.function_code import CodeRow
from perdure.core.records import RunRecord
from perdure.store import code
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

    found: list[tuple[str, str, CodeRow]] = store.journal.read(
        lambda connection: code.functions_of(connection, run.rid, run.workflow, store.path)
    )
    return [_view(*one) for one in found]


def _view(kind: str, name: str, row: CodeRow) -> FunctionView:
    source = None if row.source is None else row.source.hex()
    about = (row.parameters, row.module, row.qualname, row.file, row.line)
    options = {option: value for option, value in row.options.items() if option not in ("body", "names")}
    return FunctionView(kind, name, *about, source, options)
