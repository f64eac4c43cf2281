"""Runs that are on hold: no worker can execute them before their script is edited, or somebody has acted.

Why stands in `hold`. Where the script is what keeps a run, it begins with the script's version, so that another one
lets it go on.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import apsw
import msgspec

from perdure.core.records import RunRecord
from perdure.store import command_lines
from perdure.store.queue import AFTER_OTHERS
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("runs_on_hold.sql")


def reason_of(hold: str | None) -> str:
    """Why a run is on hold, without the version of the script that comes before it."""
    _, _, why = (hold or "").partition(" ")
    return why or hold or ""


def no_workflow(name: str) -> str:
    """Why a run is on hold whose workflow its script has no more."""
    return f"its script neither defines nor imports a workflow {name!r} when it is loaded"


def several_workflows(name: str) -> str:
    """Why a run is on hold whose workflow is one of several of that name."""
    return f"its script makes several workflows {name!r} when it is loaded"


def hold_due(store: Store, script: str, reason: str, now: float, line: bytes | None = None) -> int:
    """Put the suspended runs of a script on hold that are due, and cannot be executed; returns how many.

    With a `line`, only those of that command line.

    Raises:
        StateError: that could not be written.
    """
    if not _all(store, "due_of_script", now, script):
        return 0

    def operation(connection: apsw.Connection) -> int:
        due: Any = connection.execute(_SQL["due_of_script"], (now, script)).fetchall()
        rids = [rid for (rid,) in due if line is None or command_lines.packed(connection, rid, store.path) == line]
        for rid in rids:
            store.put_run(connection, store.run_in(connection, rid), hold=reason)
        return len(rids)

    held: int = store.journal.write((), operation)
    return held


class Homeless(msgspec.Struct, frozen=True):
    """Runs, of which one is `first`, of a workflow that their script does not define; `runs`: how many."""

    first: RunRecord
    runs: int


def hold_homeless(
    store: Store,
    scripts: Collection[str],
    workflows: Collection[tuple[str, str]],
    several: Collection[tuple[str, str]],
    version: str,
    now: float,
) -> list[Homeless]:
    """Put on hold what is due or queued of workflows that its script does not define; returns what was, by workflow.

    Args:
        store: the state file.
        scripts: the identities of those that were loaded as a whole.
        workflows: all that they define, each with its script.
        several: of which they make several of one name.
        version: of the scripts.
        now: in seconds since the epoch.

    Raises:
        StateError: that could not be written.
    """
    about = (now, json.dumps(list(scripts)), json.dumps(list(workflows)))
    if not scripts or not _all(store, "due_of_no_workflow", *about):
        return []

    def operation(connection: apsw.Connection) -> list[Homeless]:
        found: dict[tuple[str, str], list[int]] = {}
        rows: Any = connection.execute(_SQL["due_of_no_workflow"], about).fetchall()
        for rid, script, workflow in rows:
            found.setdefault((script, workflow), []).append(rid)
        held = []
        for (script, workflow), rids in found.items():
            why = f"{version} {no_workflow(workflow)}: give it that name again, @workflow(name={workflow!r})"
            if (script, workflow) in several:
                why = f"{version} {several_workflows(workflow)}: give each a name of its own, @workflow(name=...)"
            for rid in rids:
                store.put_run(connection, store.run_in(connection, rid), hold=why)
            held.append(Homeless(store.run_in(connection, rids[0]), len(rids)))
        return held

    held: list[Homeless] = store.journal.write((), operation)
    return held


def try_again(store: Store, script: str, version: str) -> int:
    """Let the runs of a script go on that an earlier version of it has put on hold; returns how many.

    Args:
        store: the state file.
        script: its identity.
        version: of the script as it is now; `hold` begins with that of then.

    Raises:
        StateError: that could not be written.
    """

    def operation(connection: apsw.Connection) -> int:
        rows: Any = connection.execute(_SQL["set_aside"], (script, AFTER_OTHERS)).fetchall()
        edited = [rid for rid, hold in rows if not hold.startswith(f"{version} ")]
        for rid in edited:
            store.put_run(connection, store.run_in(connection, rid), hold=None)
        return len(edited)

    if not _all(store, "set_aside", script, AFTER_OTHERS):
        return 0
    freed: int = store.journal.write((), operation)
    return freed


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchall())
    return rows
