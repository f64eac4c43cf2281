"""Every connection to SQLite is set up as is written, and no statement of a text is left out."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from perdure.errors import StateReadOnly
from perdure.store import liveness
from perdure.store.connection import open_connection, run_script
from perdure.store.database import connect
from perdure.store.liveness import Liveness
from perdure.store.services import Services
from syntax import nodes

PACKAGE = Path(__file__).parents[2] / "src" / "perdure"
OLDER = Path(__file__).parents[1] / "state_files" / "version-1.db"
FULL, NORMAL, OFF = 2, 1, 0


class Recorded(apsw.Connection):
    """Notes how each connection was set up when it is closed."""

    made: list[dict[str, Any]]

    def close(self, force: bool = False) -> None:
        self.made.append(setup(self))
        super().close(force)


def setup(connection: apsw.Connection) -> dict[str, Any]:
    pragmas = ("synchronous", "journal_mode", "page_size", "cell_size_check")
    switches = {"defensive": apsw.SQLITE_DBCONFIG_DEFENSIVE, "trusted": apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA}
    return {
        "file": Path(connection.filename).name.partition(".db")[2].partition(".")[0],
        "draft": Path(connection.filename).name.startswith("."),
        **{name: connection.pragma(name) for name in pragmas},
        **{name: connection.config(switch, -1) for name, switch in switches.items()},
        "timeout": connection.pragma("busy_timeout"),
    }


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    Recorded.made = []
    monkeypatch.setattr(apsw, "Connection", Recorded)
    yield Recorded.made
    Recorded.made = []


def common(file: str, draft: bool, synchronous: int) -> dict[str, Any]:
    return {
        "file": file,
        "draft": draft,
        "synchronous": synchronous,
        "journal_mode": "wal",
        "page_size": 4096,
        "cell_size_check": 1,
        "defensive": 1,
        "trusted": 0,
        "timeout": 30_000,
    }


def test_connections_to_the_state_file(tmp_path: Path, made: list[dict[str, Any]]) -> None:
    """A commit waits for the disk, also while the file is made; what is in the file runs no code."""
    connect(tmp_path / "state.db").close()
    connect(tmp_path / "state.db", read_only=True).close()
    making, looking, writing, looking_again, reading = made
    assert making == common("", True, FULL)
    assert writing == common("", False, FULL)
    assert looking == looking_again == reading == common("", False, FULL)


def test_connections_to_the_file_of_services(tmp_path: Path, made: list[dict[str, Any]]) -> None:
    """Making it waits for no disk, and no commit does: nothing of a run depends on it."""
    services = Services(tmp_path / "state.db", lambda: 0.0)
    services.about("x")
    services.close()
    making, using = made
    assert making == common("-services", True, OFF)
    assert using == common("-services", False, NORMAL)


def test_connections_while_an_older_file_is_brought_up_to_date(tmp_path: Path, made: list[dict[str, Any]]) -> None:
    """The copy beside the file and the one that viewers see are set up as the file itself; the copy is durable."""
    state = Path(shutil.copy(OLDER, tmp_path / "state.db"))
    os.utime(state, (4e9, 4e9))  # just written, so that no copy of it is kept
    connect(state, read_only=True).close()
    connect(state).close()
    assert len(made) == 7
    hardened = {"cell_size_check": 1, "defensive": 1, "trusted": 0, "timeout": 30_000}
    assert [{name: each[name] for name in hardened} for each in made] == [hardened] * 7
    (copy,) = (each for each in made if each["file"] == "" and each["draft"])
    assert copy["synchronous"] == FULL


def test_a_script_is_run_to_its_end(tmp_path: Path) -> None:
    """A statement that returns a row ends nothing."""
    connect(tmp_path / "state.db").close()
    connection = open_connection(tmp_path / "state.db", "FULL")
    run_script(connection, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA user_version = 7")
    assert (connection.pragma("synchronous"), connection.pragma("user_version")) == (OFF, 7)
    connection.close()


def test_only_one_module_opens_connections() -> None:
    """So that none is set up otherwise. (Files of the user's own are dumped as they are, for crashtest.)"""
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in nodes(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("apsw.Connection", "sqlite3.connect")
    ]
    assert sorted(found) == ["store/connection.py", "store/sqlite_dump.py"]


def test_several_statements_are_run_by_run_script_only() -> None:
    """No execute() is given a text with a semicolon inside."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "connection.py"
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".execute")
        and ";" in ast.unparse(node.args[0] if node.args else node).strip("'\"; ")
    ]
    assert found == []


def test_a_lock_that_is_not_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot lock its own file does not go on as if others could see it."""
    monkeypatch.setattr(liveness, "_flock", lambda descriptor: False)
    with pytest.raises(StateReadOnly, match="no lock can be made"):
        Liveness(tmp_path / "state.db").show()
    assert list((tmp_path / "state.db-locks").iterdir()) == []
