"""Runs of a crafted file that are their own ancestors: what follows them to the top ends, with a named error."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest

from perdure.core.execution.run_effects import Begin, Start, Taken
from perdure.errors import StateCorrupt
from perdure.operations.after_redrive import _top
from perdure.store.due_letters import _cancelled_with
from perdure.store.runs import Store
from syntax import nodes

PACKAGE = Path(__file__).parents[2] / "src" / "perdure"
MAY_FOLLOW = {"store/run_queries.py", "store/signals.py", "operations/run_views.py"}
"""Where a run's parent is followed in a loop that has seen to it that it ends."""


@pytest.fixture
def circle(tmp_path: Path) -> Store:
    """Two runs, each of which is a child of the other, under checksums that fit."""
    store = Store(tmp_path / "state.db")
    runs = []
    for name in ("one", "two"):
        start = Start("s.py", "/s.py", "work", name.encode().ljust(16), b"in", name)
        taken = store.journal.write((), store.begin(Begin(start).start, 1.0))
        assert isinstance(taken, Taken)
        runs.append(taken.run)
    for run, parent in zip(runs, reversed(runs), strict=True):
        changed = msgspec.structs.replace(run, parent=parent.rid).sealed()
        store.journal.write(
            (),
            lambda connection, one=changed: connection.execute(
                "UPDATE run SET parent = ?, crc = ? WHERE rid = ?", (one.parent, one.crc, one.rid)
            ).fetchall(),
        )
    return store


def test_what_follows_the_parents_of_a_run_ends(circle: Store) -> None:
    """In a transaction and outside of one."""
    run = circle.run("one")
    for ask in (
        lambda: list(circle.parents(run)),
        lambda: circle.journal.read(lambda connection: circle.root_in(connection, run.rid)),
        lambda: circle.journal.read(lambda connection: _cancelled_with(circle, connection, run)),
        lambda: _top(circle, run),
    ):
        with pytest.raises(StateCorrupt):
            ask()


def test_no_other_loop_follows_them() -> None:
    """A loop of its own would never end."""
    found = {
        str(path.relative_to(PACKAGE))
        for folder in ("store", "operations", "engines/local", "cli", "web", "alerts")
        for path in (PACKAGE / folder).rglob("*.py")
        for node in nodes(path)
        if isinstance(node, ast.While) and ".parent is not None" in ast.unparse(node.test)
    }
    assert found == MAY_FOLLOW
