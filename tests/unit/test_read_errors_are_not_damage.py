"""EIO on a read is trouble of the disk, not damage: nothing is called damaged or set aside, and the file is intact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from perdure.core.policies.breaker import BreakerState
from perdure.errors import StateCorrupt, StateError, StateIO
from perdure.store.database import connect
from perdure.store.services import Services
from perdure.store.sqlite_errors import translated


class Flaky(apsw.VFS):
    """SQLite's own, but for the read number `fails` of a file, which fails as EIO does, `times` times in a row."""

    def __init__(self) -> None:
        self.real = apsw.vfs_names()[0]
        super().__init__("flaky", self.real, makedefault=True)
        self.fails = self.reads = 0
        self.times = 1

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return FlakyFile(self, name, flags)


class FlakyFile(apsw.VFSFile):
    def __init__(self, vfs: Flaky, name: Any, flags: list[int]) -> None:
        super().__init__(vfs.real, name, flags)
        self.vfs = vfs

    def xLock(self, level: int) -> None:
        try:
            super().xLock(level)
        except apsw.IOError:
            raise apsw.BusyError from None  # of a descriptor that is read-only; SQLite lets that pass

    def xRead(self, amount: int, offset: int) -> bytes:
        self.vfs.reads += 1
        if self.vfs.fails and self.vfs.fails <= self.vfs.reads < self.vfs.fails + self.vfs.times:
            raise apsw.exception_for(apsw.SQLITE_IOERR_CORRUPTFS)
        return super().xRead(amount, offset)


@pytest.fixture
def disk() -> Iterator[Flaky]:
    flaky = Flaky()
    yield flaky
    flaky.fails = 0
    apsw.set_default_vfs(flaky.real)
    flaky.unregister()


def look(path: Path) -> None:
    """Everything in a state file is read."""
    connection = connect(path)
    try:
        with translated(path):
            connection.execute("SELECT * FROM run").fetchall()
            connection.execute("SELECT * FROM filler").fetchall()
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    connection = connect(path)
    connection.execute("CREATE TABLE filler (x)")
    connection.execute("INSERT INTO filler SELECT randomblob(3000) FROM pragma_function_list LIMIT 12")
    connection.close()
    return path


def test_a_read_of_the_state_file_fails_once(path: Path, disk: Flaky) -> None:
    """Whichever it is; afterwards the file is read as before."""
    look(path)
    found: list[type[StateError]] = []
    for number in range(1, disk.reads + 1):
        disk.reads, disk.fails = 0, number
        try:
            look(path)
        except StateError as error:
            found.append(type(error))
    assert len(found) > 5
    assert set(found) == {StateIO}
    disk.fails = 0
    look(path)


def test_what_is_damaged_is_still_called_damaged(path: Path) -> None:
    """A page that is read well and makes no sense."""
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 100] = b"\xa5" * 100
    path.write_bytes(data)
    with pytest.raises(StateCorrupt):
        look(path)


def test_an_index_that_lacks_a_row_is_damage(path: Path) -> None:
    """A flipped bit in an index: each page makes sense for itself, and a write that needs the entry fails."""
    connection = connect(path)
    connection.execute("CREATE TABLE numbers (n)")
    connection.execute("INSERT INTO numbers VALUES (100), (110), (120)")
    connection.execute("CREATE INDEX of_numbers ON numbers (n)")
    [(number,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'of_numbers'").fetchall()
    connection.close()
    data = bytearray(path.read_bytes())
    assert data[number * 4096 - 1] == 100  # the entry of the first row
    data[number * 4096 - 1] ^= 1
    path.write_bytes(data)
    connection = connect(path)
    try:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        with pytest.raises(StateCorrupt, match="damaged or truncated"), translated(path):
            connection.execute("DELETE FROM numbers WHERE +n = 100")
    finally:
        connection.close()


def test_the_file_of_services_is_not_set_aside(tmp_path: Path, disk: Flaky) -> None:
    """A run must not lose the state of its breakers because a disk was in trouble for a moment."""
    services = Services(tmp_path / "state.db", lambda: 5.0)
    services.update("breaker", "svc", lambda state, now: (BreakerState(changed=now, error="down"), None))
    services.close()
    disk.reads = 0
    services.all()
    services.close()
    found: list[type[StateError]] = []
    for number in range(1, disk.reads + 1):
        disk.reads, disk.fails = 0, number
        try:
            services.all()
        except StateError as error:
            found.append(type(error))
        services.close()
    disk.fails = 0
    assert set(found) == {StateIO}
    assert [name for _, name, _ in services.all()] == ["svc"]
    services.close()
    assert not list(tmp_path.glob("*damaged*"))
