"""Older state files are brought up to date, one version at a time, each whole or not at all."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from perdure.store.database import connect, migrate


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0002.sql").write_text("ALTER TABLE run ADD COLUMN colour TEXT; CREATE TABLE second (x INTEGER) STRICT;")
    (folder / "0003.sql").write_text("CREATE TABLE third (x INTEGER) STRICT;")
    return folder


def tables(connection: apsw.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_every_version_between_is_gone_through(tmp_path: Path, steps: Path) -> None:
    """A file of version 1 becomes version 3 by way of 2; a second call finds nothing to do."""
    connection = connect(tmp_path / "state.db")
    migrate(connection, steps, 3)
    migrate(connection, steps, 3)
    assert connection.pragma("user_version") == 3
    assert {"second", "third"} < tables(connection)
    connection.close()


def test_a_step_that_fails_leaves_the_version_before(tmp_path: Path, steps: Path) -> None:
    """Version 2 stands, nothing of version 3 is there, and the file works."""
    (steps / "0003.sql").write_text("CREATE TABLE third (x INTEGER) STRICT; SELECT nonsense;")
    connection = connect(tmp_path / "state.db")
    with pytest.raises(apsw.SQLError):
        migrate(connection, steps, 3)
    assert connection.pragma("user_version") == 2
    assert "third" not in tables(connection)
    assert not connection.in_transaction
    connection.close()
