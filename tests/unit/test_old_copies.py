"""A file of an older version is looked at as a copy that is up to date: made once, and anew when the file changes."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perdure.store import migration
from perdure.store.changes import Changes
from perdure.store.runs import Store

OLD = Path(__file__).parent.parent / "state_files" / "version-12.db"


def ids(path: Path) -> list[str]:
    store = Store(path, read_only=True)
    try:
        return [run.id for run in store.runs(most=10)]
    finally:
        store.close()


def test_a_copy_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks again has the same; a file that has changed is copied again; the file itself stays as it is."""
    made = 0
    transfer = migration._transfer

    def counted(*given: object, **options: object) -> None:
        nonlocal made
        made += 1
        transfer(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(migration, "_transfer", counted)
    path = tmp_path / "state.db"
    shutil.copyfile(OLD, path)
    os.utime(path, (1, 1))
    before = path.read_bytes()
    known = ids(path)
    looking = Changes(path)
    try:
        assert (ids(path), ids(path), made) == (known, known, 1)
        assert looking.is_copy
        first = looking.records()
        os.utime(path, (2, 2))
        assert looking.records() != first
        assert (ids(path), made) == (known, 2)
    finally:
        looking.close()
    assert path.read_bytes() == before
    os.utime(path, (4e9, 4e9))  # it may be written once more within the same moment
    assert (ids(path), ids(path), made) == (known, known, 4)


@pytest.mark.parametrize("written", [1, 4e9], ids=["long ago", "just now"])
def test_a_file_with_a_write_ahead_log_is_looked_at(tmp_path: Path, written: float) -> None:
    """Such is each one that perdure has used, whether its log is there or was put into it when it was closed."""
    path = tmp_path / "state.db"
    shutil.copyfile(OLD, path)
    known = ids(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE INDEX of_a_test ON run (rid)")
        assert path.with_name("state.db-wal").stat().st_size > 0
        for file in (path, path.with_name("state.db-wal")):
            os.utime(file, (written, written))
        assert (ids(path), ids(path)) == (known, known)
    os.utime(path, (written + 1, written + 1))
    assert ids(path) == known
