"""Older state files are brought up to date: whole or not at all, with a copy meanwhile, not while others use them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from conftest import SOURCE
from perdure.errors import DiskFull, StateBusy, StateCorrupt, StateIO, StateNewer, StateReadOnly
from perdure.store import database, listing, migration
from perdure.store.database import SCHEMA_VERSION, connect
from perdure.store.liveness import Liveness
from perdure.store.migration import apply
from perdure.store.runs import Store

FILES = Path(__file__).parents[1] / "state_files"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of version 1."""
    return Path(shutil.copy(FILES / "version-1.db", tmp_path / "state.db"))


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


def version(path: Path) -> int:
    """The version that the file itself says it has."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.pragma("user_version"))
    finally:
        connection.close()


def rows(path: Path) -> list[Any]:
    """What both versions hold of the steps."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        query = (
            "SELECT run, seq, name, key, n, status, input, output, started, ms, attempts FROM step ORDER BY run, seq"
        )
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def beside(path: Path) -> set[str]:
    """What lies in the folder of the file that is not the file or SQLite's."""
    ours = {path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-locks"}
    return {each.name for each in path.parent.iterdir()} - ours


def layout(path: Path) -> list[Any]:
    """All columns of all tables, and the indexes."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        named: list[Any] = connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        return [(*each, connection.execute(f"PRAGMA table_xinfo({each[1]})").fetchall()) for each in named]
    finally:
        connection.close()


# -- versions ---------------------------------------------------------------------------------------------------------


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


def test_an_older_program_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not touch a file whose rows it would read wrongly."""
    connect(tmp_path / "state.db").close()
    monkeypatch.setattr(database, "SCHEMA_VERSION", 1)
    with pytest.raises(StateNewer, match=f"format {SCHEMA_VERSION}, this one knows 1"):
        connect(tmp_path / "state.db")


# -- who else is there ------------------------------------------------------------------------------------------------


def test_a_process_of_the_older_version_is_waited_for(old: Path) -> None:
    """It would go on to write rows without kinds: the file stays as it is until it has ended."""
    liveness = Liveness(old)
    connection = apsw.Connection(str(old))
    connection.execute("INSERT INTO holder (token, pid, host, started) VALUES (?, 4711, 'here', 0)", (liveness.show(),))
    connection.close()
    with pytest.raises(StateBusy, match="pid 4711 on here"):
        connect(old)
    assert (version(old), beside(old)) == (1, set())
    connect(old, read_only=True).close()
    liveness.close()
    connect(old).close()
    assert version(old) == SCHEMA_VERSION


def test_a_process_that_still_writes_as_version_1_did_is_refused(old: Path) -> None:
    """One that had opened the file before, and had nothing to do then: a row without a kind is not taken."""
    insert = "INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc) VALUES "
    early = apsw.Connection(str(old))
    early.execute(insert + "(9, 1, 'x', zeroblob(16), 0, 'done', x'', x'', 0, 0, 0, 0)")
    connect(old).close()
    with pytest.raises(apsw.ConstraintError):
        early.execute(insert + "(9, 2, 'x', zeroblob(16), 0, 'done', x'', x'', 0, 0, 0, 0)")
    early.close()


def test_two_that_come_at_once(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One brings the file up to date, the other waits for it and finds nothing to do."""
    applied: list[int] = []
    real, both = apply, threading.Barrier(2)

    def counted(connection: apsw.Connection, version: int) -> None:
        applied.append(version)
        real(connection, version)

    verify = database._verify
    monkeypatch.setattr(migration, "apply", counted)
    monkeypatch.setattr(database, "_verify", lambda path, vfs: (verify(path, vfs), both.wait(20))[0])
    threads = [threading.Thread(target=lambda: connect(old).close()) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert (applied, version(old), beside(old)) == ([SCHEMA_VERSION], SCHEMA_VERSION, set())


def test_a_viewer_sees_the_older_file_migrated_and_leaves_it_as_it_is(old: Path) -> None:
    """Looking is possible at any time, also without the right to write, and while an older process executes runs."""
    before = rows(old)
    old.chmod(0o400)
    store = Store(old, read_only=True)
    (run,) = store.runs(workflow="killed")
    kinds = [record.kind for record in store.all_records(run.rid)]
    assert kinds == ["builtin", "defer", "step", "undo", "step", "step"]
    assert all(row.intact for row in listing.rows(store))
    assert store.check() == []
    with pytest.raises(StateReadOnly):
        store.journal.read(lambda connection: connection.execute("DELETE FROM step"))
    store.close()
    assert (version(old), rows(old), beside(old)) == (1, before, set())


# -- deaths and disks -------------------------------------------------------------------------------------------------

DEATHS = {
    "before the copy": "migration._save = lambda *_: die()",
    "in the middle of the copy": "os.fsync = lambda *_: die()",
    "after the copy": "migration.apply = lambda *_: die()",
    "in the middle of the transaction": "migration.STEPS = {2: (lambda connection: die(),)}",
    "before the commit": "migration.STEPS = {2: (migration._settle_kinds, lambda connection: die())}",
    "after the commit": "Path.unlink = lambda *_, **__: die() if committed() else None",
}

DYING = """
import os, signal, sys
from pathlib import Path
import apsw
from perdure.store import database, migration

path = Path(sys.argv[1])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def committed():
    return apsw.Connection(str(path)).pragma("user_version") == database.SCHEMA_VERSION

{death}
database.connect(path)
"""


@pytest.mark.parametrize("death", DEATHS)
def test_killed_while_it_migrates(old: Path, death: str) -> None:
    """The file is of the one version or of the other, whole; whoever comes next leaves no copy."""
    before = rows(old)
    program = DYING.format(death=DEATHS[death])
    done = subprocess.run(
        [sys.executable, "-c", program, str(old)], env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert version(old) == (SCHEMA_VERSION if death == "after the commit" else 1)
    assert rows(old) == before
    store = Store(old)
    assert (rows(old), store.check(), beside(old)) == (before, [], set())
    assert all(row.intact for row in listing.rows(store))
    store.close()


def test_the_copy_is_the_older_file_and_for_its_owner_only(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is whole before the file is touched."""
    seen: list[Any] = []
    copy = old.with_name(f".state.db.before-version-{SCHEMA_VERSION}")

    def look(connection: apsw.Connection, to: int) -> None:
        seen.append((version(copy), rows(copy), copy.stat().st_mode & 0o777))
        apply(connection, to)

    before = rows(old)
    monkeypatch.setattr(migration, "apply", look)
    connect(old).close()
    assert seen == [(1, before, 0o600)]
    assert not copy.exists()


@pytest.mark.parametrize(
    ("raised", "expected"), [(apsw.FullError("full"), DiskFull), (OSError(28, "No space left on device"), StateIO)]
)
def test_no_room_for_the_copy(
    old: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception]
) -> None:
    """The file stays as it was, and is brought up to date when there is room."""

    def full(*_: object) -> None:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(migration, "_transfer", full)
        with pytest.raises(expected):
            connect(old)
    assert (version(old), beside(old)) == (1, set())
    connect(old).close()
    assert version(old) == SCHEMA_VERSION
