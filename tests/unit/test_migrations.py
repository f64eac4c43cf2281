"""Older state files are brought up to date: through every version, whole or not at all, with nothing lost."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
from old_state_files import FILES, beside, old_file, rows, version

from perdure.errors import StateCorrupt, StateNewer
from perdure.store import database, listing, migration
from perdure.store.database import SCHEMA_VERSION, connect
from perdure.store.migration import apply
from perdure.store.runs import Store


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_file(tmp_path)


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """Two versions that are still to come."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    first, second = SCHEMA_VERSION + 1, SCHEMA_VERSION + 2
    (folder / f"{first:04}.sql").write_text(
        "ALTER TABLE run ADD COLUMN colour TEXT; CREATE TABLE one (x INTEGER) STRICT;"
    )
    (folder / f"{second:04}.sql").write_text("CREATE TABLE two (x INTEGER) STRICT;")
    return folder


def tables(connection: apsw.Connection) -> set[str]:
    rows: list[Any] = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name for (name,) in rows}


def layout(path: Path) -> list[Any]:
    """All columns and checks of all tables, and the indexes."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        named: list[Any] = connection.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        return [
            (kind, name, stated(kind, sql), connection.execute(f"PRAGMA table_xinfo({name})").fetchall())
            for kind, name, sql in named
        ]
    finally:
        connection.close()


def stated(kind: str, sql: str) -> list[str]:
    """What the text says of an index, or the checks of a table, however it is laid out."""
    text = " ".join(sql.replace('"', "").split())
    if kind == "index":
        return [text]
    return sorted(clause[: balanced(clause)] for clause in text.split(" CHECK ")[1:])


def balanced(text: str) -> int:
    """Where the parenthesis is closed that a text begins with."""
    depth = 0
    for place, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return place + 1
    raise AssertionError(text)


def test_every_version_between_is_gone_through(tmp_path: Path, steps: Path) -> None:
    """A file becomes two versions newer by way of the one between; a second time there is nothing to do."""
    connection = connect(tmp_path / "state.db")
    for _ in range(2):
        apply(connection, SCHEMA_VERSION + 2, steps)
    assert connection.pragma("user_version") == SCHEMA_VERSION + 2
    assert {"one", "two"} < tables(connection)
    connection.close()


def test_a_step_that_fails_leaves_the_version_before(old: Path, steps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of any step is there, also not of those that went well; the file works, and no copy is left."""
    for each in migration.MIGRATIONS.iterdir():
        shutil.copy(each, steps)
    (steps / f"{SCHEMA_VERSION + 2:04}.sql").write_text("CREATE TABLE two (x INTEGER) STRICT; SELECT nonsense;")
    before = rows(old)
    with monkeypatch.context() as patch:
        patch.setattr(database, "SCHEMA_VERSION", SCHEMA_VERSION + 2)
        patch.setattr(apply, "__defaults__", (steps,))
        with pytest.raises(StateCorrupt):
            connect(old)
    assert (version(old), rows(old), beside(old)) == (1, before, {"migrations"})
    connect(old).close()
    assert version(old) == SCHEMA_VERSION


def test_a_migrated_file_is_laid_out_as_a_new_one(old: Path, tmp_path: Path) -> None:
    """Otherwise a check or an index would hold for some files only."""
    connect(old).close()
    connect(tmp_path / "new.db").close()
    assert layout(old) == layout(tmp_path / "new.db")


def test_nothing_is_lost_and_every_row_matches_its_checksum(old: Path) -> None:
    """The kinds come from the names of version 1, except for users' steps that were only named like clean-ups."""
    before = rows(old)
    store = Store(old)
    assert rows(old) == before
    assert beside(old) == set()
    assert all(row.intact for row in listing.rows(store))
    kinds = {(name, kind) for run in store.runs(children=True) for _, name, *_, kind in store.index(run.rid)}
    assert kinds == {
        *((name, "step") for name in ("charge", "invoice", "send", "undo:note", "defer:note")),
        *((f"perdure.{name}", "builtin") for name in ("now", "uuid", "random")),
        ("perdure.defer", "defer"),
        ("perdure.undo", "undo"),
        ("defer:close", "deferred"),
        ("undo:refund", "undone"),
    }
    store.close()


def test_a_row_that_a_check_would_refuse_does_not_keep_a_file_from_being_used(tmp_path: Path) -> None:
    """Checks that are put otherwise are not asked of rows that are there: one that was damaged is said to be so."""
    path = old_file(tmp_path, 13)
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA ignore_check_constraints = ON; UPDATE run SET status = 'dome' WHERE rid = 1")
    connection.close()
    store = Store(path)
    assert [row.table for row in listing.rows(store) if not row.intact] == ["run"]
    assert store.run_by_number(2).id
    with pytest.raises(StateCorrupt):
        store.journal.write((), lambda connection: connection.execute("UPDATE run SET status = 'fine' WHERE rid = 2"))
    store.close()


@pytest.mark.parametrize("name", ["undo:refund", "charge"])
def test_a_damaged_row_does_not_become_a_sound_one(old: Path, name: str) -> None:
    """A new checksum must not cover up that the old one did not match."""
    connection = apsw.Connection(str(old))
    connection.execute("UPDATE step SET output = x'c3' WHERE name = ?", (name,))
    count = connection.changes()
    connection.close()
    store = Store(old)
    assert sum(not row.intact for row in listing.rows(store)) == count > 0
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "run SET workflow = 'other' WHERE rid = 2",
        "run SET id = CAST(x'ff' AS TEXT) WHERE rid = 2",
        "step SET name = CAST(x'ff' AS TEXT) WHERE run = 3 AND seq = 3",
        "attempt SET error = x'c3' WHERE number = 1 AND run = 3",
        "dead_letter SET input = x'c3' WHERE lid = 1",
    ],
)
def test_a_row_that_was_damaged_before_every_column_was_checked(change: str, tmp_path: Path) -> None:
    """The new checksums are computed of rows that matched the ones before, and of no others; texts may be none."""
    path = old_file(tmp_path, 3)
    connection = apsw.Connection(str(path))
    connection.execute(f"UPDATE {change}")
    assert connection.changes() == 1
    connection.close()
    store = Store(path)
    found: list[Any] = []
    with suppress(StateCorrupt):
        found += [row for row in listing.rows(store) if not row.intact]
        assert len(found) == 1
    store.close()
    bad = apsw.Connection(str(path))
    table = change.partition(" ")[0]
    kept: list[Any] = bad.execute(f"SELECT crc FROM {table} {change[change.index('WHERE') :]}").fetchall()
    before: list[Any] = (
        apsw.Connection(str(FILES / "version-3.db"))
        .execute(f"SELECT crc FROM {table} {change[change.index('WHERE') :]}")
        .fetchall()
    )
    assert kept == before
    bad.close()


def test_an_older_program_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not touch a file whose rows it would read wrongly."""
    connect(tmp_path / "state.db").close()
    monkeypatch.setattr(database, "SCHEMA_VERSION", 1)
    with pytest.raises(StateNewer, match=f"format {SCHEMA_VERSION}, this one knows 1"):
        connect(tmp_path / "state.db")


def test_what_came_after_an_undone_call_is_not_held_against_the_script_in_files_of_before() -> None:
    """From the first number that is missing, which was the undone call's, to the last; of runs without one, nothing."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE step (run, seq, kind, status)")
    connection.execute("CREATE TABLE exempt (run, first, last, crc)")
    numbers = {1: (1, 2, 4, 6, 7), 2: (1, 2, 3), 3: (1, 3)}
    for run, seqs in numbers.items():
        connection.executemany("INSERT INTO step VALUES (?, ?, 'step', 'done')", [(run, seq) for seq in seqs])
    connection.execute("UPDATE step SET kind = 'undone' WHERE run < 3 AND seq = 3 OR run = 1 AND seq = 7")
    migration._exempt_what_was_undone(connection)
    assert connection.execute("SELECT run, first, last FROM exempt").fetchall() == [(1, 4, 7)]
