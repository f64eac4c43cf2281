"""A migration that is killed, or finds no room, leaves the file as it was or migrated, with a copy meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest
from old_state_files import beside, old_file, rows, version

from conftest import SOURCE
from perdure.errors import DiskFull, StateIO
from perdure.store import listing, migration
from perdure.store.database import SCHEMA_VERSION, connect
from perdure.store.migration import apply
from perdure.store.runs import Store


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_file(tmp_path)


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
    """The file is of the one version or of the other, whole; the next process leaves no copy."""
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
