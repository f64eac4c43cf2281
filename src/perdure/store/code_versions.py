"""The versions of a script that have executed a run, and what the functions of its workflows were in them."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from perdure.core.function_code import CodeRow
from perdure.store import code, sessions
from perdure.store.runs import Store


def earlier(store: Store, rid: int) -> tuple[set[bytes], dict[str, CodeRow]]:
    """Of the earlier lives of a run: the digests of its script, and the workflows that it has called, by name.

    Raises:
        StateCorrupt: what the file says of them is not as it was written.
    """

    def question(connection: apsw.Connection) -> tuple[set[bytes], dict[str, CodeRow]]:
        lives = [one.row for one in sessions.list_of(connection, rid, store.path) if one.row.outcome is not None]
        called = code.of_run(connection, rid, store.path)
        workflows = {name: row for (_, name), row in called.items() if row.options.get("kind") == "workflow"}
        return {row.script for row in lives if row.script is not None}, workflows

    found: tuple[set[bytes], dict[str, CodeRow]] = store.journal.read(question)
    return found


def kind_of_call(store: Store, rid: int, name: str) -> str | None:
    """Was what a run has called under a name a "step" or a "workflow"? None: not known.

    Raises:
        StateCorrupt: what the file says of it is not as it was written.
    """
    called: dict[tuple[str, str], CodeRow] = store.journal.read(
        lambda connection: code.of_run(connection, rid, store.path)
    )
    row = called.get(("step", name))
    return None if row is None else row.options.get("kind")


def of_workflow(store: Store, digests: Iterable[bytes], workflow: str) -> list[CodeRow]:
    """The function of a workflow in each of these versions of its file that has it.

    Raises:
        StateCorrupt: what the file says of one is not as it was written.
    """

    def question(connection: apsw.Connection) -> list[CodeRow]:
        rows = [code.of_workflow(connection, digest, workflow, store.path) for digest in digests]
        return [row for row in rows if row is not None]

    found: list[CodeRow] = store.journal.read(question)
    return found
