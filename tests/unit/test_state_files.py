"""A state is several files, which are used, refused, replaced and moved as one."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from conftest import replace
from perdure.core.execution.run_effects import Begin, End, Start, Taken
from perdure.core.records import sealed_row
from perdure.errors import NotFound, StateBusy, StateCorrupt, StateError, StateForeign, StateIO, StateReadOnly
from perdure.operations.location import Location, opened
from perdure.operations.set_aside import set_aside
from perdure.store import database
from perdure.store.runs import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state.db"


def begin(store: Store, name: str = "a") -> Taken:
    start = Start("s.py", "/s.py", "work", name.encode().ljust(16), b"in", name)
    taken: Any = store.journal.write((), store.begin(Begin(start).start, 1.0))
    assert isinstance(taken, Taken)
    return taken


def step(store: Store, taken: Taken, seq: int) -> None:
    row = (taken.run.rid, seq, "step", bytes(16), seq, "done", b"in", b"out", 0.0, 0, 1, 0, "step")
    store.journal.write((sealed_row(row),))


def killed(path: Path) -> Path:
    """What is on the disk of a process that dies now, with a journal that holds all that it saved."""
    store = Store(path)
    taken = begin(store)
    step(store, taken, 1)
    copy = path.parent.with_name("left")
    shutil.copytree(path.parent, copy)
    store.close()
    return copy / path.name


# -- the file alone is moved ------------------------------------------------------------------------------------------


def test_a_journal_is_not_played_into_a_new_file(path: Path) -> None:
    """The file was moved away without it: nothing is made beside it, and with the file it is whole again."""
    left = killed(path)
    kept = left.rename(left.with_name("old.db"))
    before = sorted(each.name for each in left.parent.iterdir())
    with pytest.raises(StateCorrupt, match="its journal is still there"):
        Store(left)
    assert sorted(each.name for each in left.parent.iterdir()) == before
    kept.rename(left)
    store = Store(left)
    assert [seq for seq, *_ in store.index(1)] == [1]
    store.close()


@pytest.mark.parametrize(("before", "look"), [("nothing", "refuse_orphans"), ("an empty file", "traces")])
def test_a_file_that_another_process_makes_at_the_same_time_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch, before: str, look: str
) -> None:
    """On a busy machine it may be there with its journal, when this one comes to look for what a file has left."""
    path.parent.mkdir()
    if before == "an empty file":
        path.touch()
    real, others, looks = getattr(database, look), list[Store](), list[Path]()

    def held_up(state: Path) -> Any:
        looks.append(state)
        if len(looks) == 1:
            others.append(Store(path))
            begin(others[0])
        return real(state)

    replace(monkeypatch, database, look, held_up)
    store = Store(path)
    assert [run.id for run in store.runs()] == ["a"]
    store.close()
    others[0].close()


def test_an_empty_journal_is_in_no_ones_way(path: Path) -> None:
    """Nothing would be played."""
    path.parent.mkdir()
    path.with_name("state.db-wal").touch()
    Store(path).close()
    assert path.stat().st_size


def test_all_files_are_moved_away_at_once(path: Path) -> None:
    """The next start begins anew; what was moved can be looked at where it is; a second time there is nothing."""
    left = killed(path)
    location = Location(left, "--state")
    moved = set_aside(location)
    assert {"state.db", "state.db-wal", "state.db-locks"} <= set(moved.files)
    assert not list(left.parent.glob("state.db*[!0-9a-f]"))
    with pytest.raises(NotFound):
        set_aside(location)
    store = Store(left)
    assert begin(store).resumed is False
    store.close()
    there = Store(moved.folder / "state.db", read_only=True)
    assert [seq for seq, *_ in there.index(1)] == [1]
    there.close()


def test_what_is_in_use_is_not_moved(path: Path) -> None:
    """It is refused as long as a process has something there, and that process does not notice."""
    store = Store(path)
    taken = begin(store)
    with pytest.raises(StateBusy):
        set_aside(Location(path, "--state"))
    step(store, taken, 1)
    store.journal.write((), store.end(End(taken.run, "done", b"out"), 2.0))
    store.close()
    assert set_aside(Location(path, "--state")).files


# -- journals of another mode -----------------------------------------------------------------------------------------


def hot(path: Path, table: str) -> Path:
    """A file whose writer died in the middle of a commit, in rollback mode."""
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"DELETE FROM {table}")
    connection.execute("CREATE TABLE big (x BLOB)")
    connection.executemany("INSERT INTO big VALUES (zeroblob(9000))", [()] * 50)
    copy = path.parent.with_name("hot")
    shutil.copytree(path.parent, copy)
    connection.close()
    assert (copy / f"{path.name}-journal").stat().st_size
    return copy / path.name


@pytest.mark.parametrize("read_only", [True, False])
def test_a_commit_that_was_cut_short_is_taken_back(path: Path, read_only: bool) -> None:
    """By whoever comes next, a viewer or a run; and from then on the file keeps a write-ahead log."""
    left = killed(path)
    Store(left).close()
    store = Store(hot(left, "step"), read_only=read_only)
    assert [seq for seq, *_ in store.index(1)] == [1]
    assert store.check() == []
    if not read_only:
        assert store.journal.read(lambda connection: connection.pragma("journal_mode")) == "wal"
    store.close()


def test_a_foreign_file_is_not_recovered(path: Path) -> None:
    """It stays as it is, with its journal."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE photo (x); INSERT INTO photo VALUES (1)")
    connection.close()
    left = hot(path, "photo")
    before = left.read_bytes(), left.with_name("state.db-journal").read_bytes()
    with pytest.raises(StateError):
        Store(left)
    assert (left.read_bytes(), left.with_name("state.db-journal").read_bytes()) == before


class Undeletable(apsw.VFS):
    """Journals cannot be removed, so that SQLite stays in rollback mode and says so."""

    def __init__(self) -> None:
        super().__init__("undeletable", base="")

    def xDelete(self, name: str, sync: bool) -> None:
        if name.endswith("-journal"):
            raise apsw.IOError("a test")
        super().xDelete(name, sync)


def test_a_file_that_keeps_no_write_ahead_log_is_not_used(path: Path) -> None:
    """SQLite answers so, and raises nothing; the next start has one again."""
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    vfs = Undeletable()
    with pytest.raises(StateIO):
        Store(path, vfs="undeletable")
    vfs.unregister()
    Store(path).close()


class Noted(apsw.VFSFile):
    """A file that notes when it is written to and when it is flushed."""

    def __init__(self, name: apsw.URIFilename | str | None, flags: list[int], noted: list[str]) -> None:
        super().__init__("", name, flags)  # type: ignore[arg-type]
        self.noted = noted

    def xWrite(self, data: bytes, offset: int) -> None:
        self.noted.append("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self.noted.append("sync")
        super().xSync(flags)


class Noting(apsw.VFS):
    """Notes what is done to databases themselves, not to their journals."""

    def __init__(self) -> None:
        super().__init__("noting", base="")
        self.noted: list[str] = []

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return Noted(name, flags, self.noted if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else [])


def test_a_new_file_is_flushed_once_when_all_of_it_is_written(path: Path) -> None:
    """No power cut leaves a part of it, and no start waits for the disk more often than for that."""
    vfs = Noting()
    store = Store(path, vfs="noting")
    noted = list(vfs.noted)
    store.close()
    vfs.unregister()
    assert noted.count("sync") == 1
    assert noted[-1] == "sync"
    assert noted.count("write") > 10


# -- an empty file ----------------------------------------------------------------------------------------------------


def test_an_empty_file_is_filled_if_none_was_ever_there(path: Path) -> None:
    """A program that only looks at a file that is not there leaves it so, as SQLite's own shell does."""
    path.parent.mkdir()
    path.touch()
    store = Store(path)
    step(store, begin(store), 1)
    store.close()
    assert {each.name for each in path.parent.iterdir()} - {"state.db", "state.db-locks"} == set()


def test_a_file_that_was_truncated_is_refused(path: Path) -> None:
    """What a run left beside it says that there was something in it."""
    store = Store(path)
    begin(store)
    store.close()
    path.write_bytes(b"")
    with pytest.raises(StateCorrupt, match="empty") as refused:
        Store(path)
    assert "-wal" not in refused.value.hint
    with pytest.raises((StateCorrupt, StateForeign)):
        Store(path, read_only=True)
    assert path.read_bytes() == b""


# -- no file ----------------------------------------------------------------------------------------------------------


def test_who_looks_is_told_of_a_journal_without_its_file(path: Path) -> None:
    """Not that there is nothing: what was saved last is in it."""
    left = killed(path)
    left.unlink()
    with pytest.raises(StateCorrupt, match="its journal is still there"), opened(Location(left, "--state")):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_place_where_no_folder_can_be_made_is_not_taken_for_a_broken_disk() -> None:
    """The way out is another place."""
    with pytest.raises(StateReadOnly, match="cannot be made") as refused:
        Store(Path("/proc/none/state.db"))
    assert "set PERDURE_STATE to another path" in refused.value.hint


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _socket])
@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_file_is_left_where_it_is(tmp_path: Path, make: Callable[[Path], None], link: bool) -> None:
    """A pipe and a device have no size either, like a file that is empty and may be filled; they are not replaced."""
    place = tmp_path / "place"
    make(place)
    named = tmp_path / "state.db"
    if link:
        named.symlink_to(place)
    else:
        named = place
    before = os.lstat(place)
    for read_only in (False, True):
        with pytest.raises(StateForeign, match="leads to a folder, a device, a pipe or a socket"):
            Store(named, read_only=read_only)
    assert os.lstat(place).st_ino == before.st_ino
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted({"place", named.name})


def test_a_path_without_a_name_is_no_file() -> None:
    """The root of the file system, say."""
    with pytest.raises(StateForeign, match="leads to a folder"):
        Store(Path("/"))


def test_a_file_that_was_exchanged_for_a_pipe_meanwhile_is_not_removed(path: Path) -> None:
    """Between the look at an empty file and its replacement."""
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(StateForeign):
        database._create(path, None, empty=True)
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as names")
def test_a_folder_that_is_no_text_is_named(tmp_path: Path) -> None:
    """SQLite takes names in UTF-8 only."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xff"))
    folder.mkdir()
    with pytest.raises(StateReadOnly, match="is not UTF-8"):
        Store(folder / "state.db")
    assert list(folder.iterdir()) == []


# -- the folder cannot be written to ----------------------------------------------------------------------------------


@pytest.fixture
def read_only_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state file of a killed process, on a medium that keeps no index of its journal; to root it is one in name."""
    left = killed(path)
    left.with_name("state.db-shm").unlink()
    replace(monkeypatch, os, "access", lambda path, mode: mode != os.W_OK)
    return left


@pytest.mark.parametrize("young", [0, 10**19], ids=["long ago", "just now"])
def test_a_file_in_a_read_only_folder_is_looked_at_with_its_journal(
    read_only_home: Path, monkeypatch: pytest.MonkeyPatch, young: int
) -> None:
    """Nothing is made beside it, and what only the journal holds is there, whenever the copy of it was made."""
    monkeypatch.setattr("perdure.store.migration.YOUNG", young)
    before = {each: each.stat().st_mtime_ns for each in read_only_home.parent.iterdir()}
    store = Store(read_only_home, read_only=True)
    assert [seq for seq, *_ in store.index(1)] == [1]
    store.close()
    assert {each: each.stat().st_mtime_ns for each in read_only_home.parent.iterdir()} == before


def test_a_file_that_is_too_large_to_be_copied_says_the_way(
    read_only_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another program is named by its own path, not by that of a copy."""
    with monkeypatch.context() as patch:
        patch.setattr("perdure.store.read_only_folder.MOST", 1000)
        with pytest.raises(StateReadOnly, match=r"(?s)copied for reading.*name a copy"):
            Store(read_only_home, read_only=True)
    read_only_home.with_name("state.db-wal").unlink()
    read_only_home.unlink()
    sqlite3.connect(read_only_home).execute("CREATE TABLE a (b)").connection.close()
    with pytest.raises(StateForeign, match=str(read_only_home)):
        Store(read_only_home, read_only=True)
