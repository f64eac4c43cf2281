"""Runs that are removed though somebody needs them, or that leave something behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from listed_runs import BEGAN, Listed

from perdure.cli import main
from perdure.core.records import RunRecord
from perdure.operations.location import Location
from perdure.operations.prune import Removed, prune
from perdure.store import listing, pruning

NOW = BEGAN + 40 * 86400
ELSEWHERE = {"piece_use", "artifact_use"}
"""Tables whose rows pieces.release removes."""


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


def pruned(listed: Listed, **options: Any) -> Removed:
    """What `perdure prune --older 30d` removes, or would."""
    location = Location(listed.store.path, "--state")
    return prune(location, "30d", clock=lambda: NOW, **options)


def change(listed: Listed, run: RunRecord, **fields: Any) -> None:
    listed.store.journal.write((), lambda connection: listed.store.put_run(connection, run, **fields))


def ids(listed: Listed) -> set[str]:
    rows: Any = listed.store.journal.read(lambda connection: connection.execute("SELECT id FROM run").fetchall())
    return {id for (id,) in rows}


def fill(listed: Listed) -> None:
    """Runs that may go ("old..."), and runs that may not."""
    for id, status in (("old", "done"), ("old-cancelled", "cancelled")):
        run = listed.run(id, status)
        change(listed, run, ended=BEGAN + 1)
        listed.steps(run, "load", "item", attempts=2)
        child = listed.run(f"{id}.child", "done", parent=run.rid)
        listed.steps(child, "item")
    for status in ("failed", "parked", "running", "suspended", "queued"):
        listed.steps(listed.run(status, status), "load")
    change(listed, listed.run("recent"), ended=NOW - 29 * 86400)
    parent = listed.run("with-letters")
    listed.steps(listed.run("with-letters.child", parent=parent.rid), "item", status="dead", attempts=3)
    source, fork = listed.run("source-of-unfinished"), listed.run("unfinished-fork", "failed")
    change(listed, source, superseded_by=fork.rid)
    old_source, old_fork = listed.run("old-source", "failed"), listed.run("old-fork")
    change(listed, old_source, superseded_by=old_fork.rid)
    listed.run("newest")


def test_each_run_that_stays_is_counted(listed: Listed) -> None:
    """Also those that stay for a fork's sake."""
    source, fork, newest = listed.run("source"), listed.run("fork"), listed.run("newest")
    change(listed, source, superseded_by=fork.rid)
    change(listed, fork, superseded_by=newest.rid)
    assert pruned(listed).kept == {"newest": 1, "related": 2}


def test_an_old_run_stays_for_as_long_as_a_run_that_stands_on_it_is_young(listed: Listed) -> None:
    """Its fork, its source, its parent or its child may still be looked at: the youngest of them counts."""
    old, young = listed.run("old"), listed.run("young")
    change(listed, old, superseded_by=young.rid)
    change(listed, young, ended=NOW - 29 * 86400)
    listed.run("newest")
    assert pruned(listed).runs == []
    assert ids(listed) == {"old", "young", "newest"}
    change(listed, young, ended=NOW - 31 * 86400)
    assert pruned(listed).runs == ["old", "young"]
    assert ids(listed) == {"newest"}


GONE = {"old", "old.child", "old-cancelled", "old-cancelled.child", "old-source", "old-fork"}


def test_what_can_be_gone_on_with_stays_and_the_rest_leaves_nothing(listed: Listed) -> None:
    """Whatever is unfinished, has parked letters, or is related to such a run stays as it was; of what goes no row is
    left in any table, and the file is sound."""
    fill(listed)
    everyone = ids(listed)
    numbers = {listed.store.run(id).rid for id in GONE}
    found = pruned(listed)
    assert set(found.runs) == {id for id in GONE if ".child" not in id}
    assert (found.children, found.steps) == (2, 6)
    assert found.kept == {"letters": 1, "unfinished": 1, "newest": 1}
    assert ids(listed) == everyone - GONE
    for table in tables(listed):
        rows: Any = listed.store.journal.read(
            lambda connection, table=table: connection.execute(f"SELECT DISTINCT run FROM {table}").fetchall()
        )
        assert not numbers & {rid for (rid,) in rows}, table
    assert all(row.intact for row in listing.rows(listed.store))
    assert listed.store.check() == []
    assert pruned(listed).runs == []


def test_parked_letters_go_only_if_that_is_said(listed: Listed) -> None:
    """With --letters, and with their runs."""
    fill(listed)
    found = pruned(listed, letters=True)
    assert "with-letters" in found.runs
    assert found.letters == 1
    assert "with-letters.child" not in ids(listed)
    assert all(row.intact for row in listing.rows(listed.store))


def test_a_dry_run_says_the_same_and_changes_nothing(listed: Listed) -> None:
    """The file has the same rows afterwards."""
    fill(listed)
    before, version = ids(listed), listed.store.version()
    said = pruned(listed, dry=True)
    assert (ids(listed), listed.store.version()) == (before, version)
    assert said == pruned(listed)


def test_no_table_is_forgotten(listed: Listed) -> None:
    """Each table whose rows belong to a run is emptied of a run that goes, or keeps the run (a lock)."""
    dropped = {statement.split()[2] for statement in pruning._DROPS}
    assert tables(listed) == (dropped - {"run"}) | ELSEWHERE | {"lock"}


def test_the_command_says_what_it_did(listed: Listed, capsys: pytest.CaptureFixture[str]) -> None:
    """In lines: what was removed, and what was kept for which reason; and nothing without --older."""
    fill(listed)
    state = ("--state", str(listed.store.path))
    assert main(["prune", "--older", "1s", "--dry-run", *state]) == 0
    out = capsys.readouterr().out
    assert "runs, 2 child runs, 6 steps would be removed" in out
    assert "1 run kept: they have parked dead letters; --letters removes those too" in out
    assert main(["prune", *state]) == 2
    assert main(["prune", "--older", "soon", *state]) == 2


def tables(listed: Listed) -> set[str]:
    """The tables whose rows say of which run they are."""
    rows: Any = listed.store.journal.read(
        lambda connection: connection.execute(
            "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'run'"
        ).fetchall()
    )
    return {name for (name,) in rows}


def test_the_command_says_that_young_artifacts_stay(
    listed: Listed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that no run uses any more stays for a while after it was written; that is no silent leftover."""
    found = pruning.Removed(["a"], 0, 1, 0, ["b" * 64], {})
    monkeypatch.setattr(pruning, "prune", lambda *_, **__: found)
    fill(listed)
    assert main(["prune", "--older", "1s", "--state", str(listed.store.path)]) == 0
    assert (
        "1 artifact kept: written less than 1 h ago; a later prune removes what no run uses" in capsys.readouterr().out
    )


def test_what_removed_runs_have_stored_apart_goes_with_them(listed: Listed) -> None:
    """Large values lie in pieces: those that no run uses any more are gone."""
    gone, stays = listed.run("old"), listed.run("recent")
    change(listed, gone, ended=BEGAN + 1, output=b"\xc6" + bytes([0, 1, 0, 0]) + os.urandom(1 << 16))
    change(listed, stays, ended=NOW, output=b"\xc6" + bytes([0, 1, 0, 0]) + os.urandom(1 << 16))

    def users() -> set[int]:
        rows: Any = listed.store.journal.read(
            lambda connection: connection.execute("SELECT DISTINCT run FROM piece_use").fetchall()
        )
        return {run for (run,) in rows}

    assert users() == {gone.rid, stays.rid}
    pruned(listed)
    assert ids(listed) == {"recent"}
    assert users() == {stays.rid}
