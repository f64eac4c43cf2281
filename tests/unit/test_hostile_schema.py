"""A state file whose tables are not what perdure made executes nothing, and hangs no command."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from perdure.errors import StateCorrupt
from perdure.store.connection import open_connection, refuse_foreign_schema
from perdure.store.database import connect
from perdure.store.services import Services

OLDER = Path(__file__).parents[1] / "state_files" / "version-1.db"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0"


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (f"ALTER TABLE run RENAME TO other; CREATE VIEW run AS {ENDLESS}", "view 'run'"),
        ("CREATE TRIGGER t AFTER INSERT ON step BEGIN SELECT 1; END", "trigger 't'"),
        ("CREATE VIRTUAL TABLE f USING fts5(x)", "table 'f'"),
    ],
    ids=["view", "trigger", "virtual"],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_what_perdure_never_makes(statement: str, named: str, read_only: bool, tmp_path: Path) -> None:
    """It is refused before any statement of ours runs; the error names it."""
    state = tmp_path / "state.db"
    connect(state).close()
    connection = sqlite3.connect(state)
    connection.executescript(statement)
    connection.close()
    with pytest.raises(StateCorrupt, match=f"it holds the {named}, which perdure never makes"):
        connect(state, read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_what_an_older_perdure_never_made(read_only: bool, tmp_path: Path) -> None:
    """It is refused before the file, or the copy that a viewer sees, is brought up to date; the file stays as it is."""
    state = Path(shutil.copy(OLDER, tmp_path / "state.db"))
    connection = sqlite3.connect(state)
    connection.execute("CREATE TRIGGER t AFTER UPDATE ON step BEGIN SELECT 1; END")
    connection.commit()
    with pytest.raises(StateCorrupt, match="which perdure never makes"):
        connect(state, read_only=read_only)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_a_fence_is_no_foreign_trigger(tmp_path: Path) -> None:
    """The trigger that a process makes for itself is in no file."""
    connect(tmp_path / "state.db").close()
    connection = open_connection(tmp_path / "state.db", "FULL")
    connection.execute("CREATE TEMP TRIGGER fence BEFORE INSERT ON main.step BEGIN SELECT 1; END")
    refuse_foreign_schema(connection)
    connection.close()


def test_the_file_of_services(tmp_path: Path) -> None:
    """It is set aside, like any that is damaged."""
    services = Services(tmp_path / "state.db", lambda: 0.0)
    services.about("x")
    services.close()
    connection = sqlite3.connect(services.path)
    connection.execute(f"CREATE VIEW other AS {ENDLESS}")
    connection.close()
    assert Services(tmp_path / "state.db", lambda: 0.0).about("x") == {}
    assert list(tmp_path.glob("state.db-services.damaged-*"))


def test_a_schema_cannot_be_changed_by_what_is_read(tmp_path: Path) -> None:
    """Defensive: no statement writes to the schema table."""
    connect(tmp_path / "state.db").close()
    connection = open_connection(tmp_path / "state.db", "FULL")
    connection.pragma("writable_schema", 1)
    with pytest.raises(apsw.SQLError, match="may not be modified"):
        connection.execute("DELETE FROM sqlite_schema")
    connection.close()


# Another thread says that the query has begun: it runs when this one is inside of SQLite, in no function of Python.
PROGRAM = f"""
import sys, threading
from pathlib import Path
from perdure.store.connection import open_connection
connection = open_connection(Path(sys.argv[1]), "FULL", read_only=True)
begun = threading.Event()
connection.create_scalar_function("begun", begun.set, 0)
threading.Thread(target=lambda: begun.wait() and print("begun", flush=True), daemon=True).start()
try:
    connection.execute("SELECT begun() UNION ALL SELECT max(i) FROM ({ENDLESS})").fetchall()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_query_without_an_end(tmp_path: Path) -> None:
    """Whatever a statement is at, whoever looks on can leave."""
    connect(tmp_path / "state.db").close()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "state.db")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        try:
            assert process.communicate(timeout=60)[0] == "interrupted\n"
        finally:
            process.kill()
