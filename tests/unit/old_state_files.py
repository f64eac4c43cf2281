"""A state file of version 1, and what the tests of migrations look at."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import apsw

FILES = Path(__file__).parents[1] / "state_files"


def old_file(folder: Path, version: int = 1) -> Path:
    """A file of that version."""
    return Path(shutil.copy(FILES / f"version-{version}.db", folder / "state.db"))


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
