"""Who reads a state file and does not finish is named: the journal grows for as long, and nobody would know why."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from perdure.store import checkpoints, parked_readers
from perdure.store.runs import Store

PARKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM published").fetchone()
print("reads", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


@contextmanager
def reader(path: Path) -> Iterator[int]:
    """Another program that began to read, and has not finished: the id of its process."""
    with subprocess.Popen([sys.executable, "-c", PARKED, str(path)], stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"reads\n"
        yield process.pid
        process.stdin.close()


def grow(store: Store, pages: int) -> None:
    """Commits that fill so many pages of the journal, one after the other."""

    def page(connection: apsw.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO published VALUES (1, 'x', randomblob(8000), 5.0, 0)")

    for _ in range(pages // 2):
        store.journal.write((), page)


def length(store: Store) -> int:
    return Path(f"{store.path}-wal").stat().st_size


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not list its locks")
def test_a_parked_reader_is_named_whenever_the_journal_has_doubled(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By its process, and what program that is; not with every commit; and no more when it has finished."""
    monkeypatch.setattr(checkpoints, "LONG", 300)
    store.journal._checkpoints._length = checkpoints.JournalLength(store.path)
    with caplog.at_level(logging.WARNING, "perdure"):
        with reader(store.path) as pid:
            grow(store, 1500)
        named = [record.getMessage() for record in caplog.records]
        caplog.clear()
        grow(store, 1500)
    assert 2 <= len(named) <= 4, named
    assert all(f"process {pid} (python" in line for line in named), named
    assert named[0].startswith("the journal of the state file is 1."), named
    assert not caplog.records
    assert parked_readers.readers(store.path) == []


def test_a_journal_that_nobody_keeps_stays_short(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is said, also not of a commit that is longer than what is worth a word."""
    grow(store, 600)
    short = length(store)
    grow(store, 1200)
    assert length(store) == short
    with caplog.at_level(logging.WARNING, "perdure"):
        store.journal.write((), lambda db: db.execute(f"INSERT OR REPLACE INTO published VALUES {LARGE}") and None)
    assert length(store) > checkpoints.LONG * 4096
    assert not caplog.records


LARGE = f"(1, 'x', zeroblob({(checkpoints.LONG + 100) * 4096}), 5.0, 0)"


def test_where_locks_are_not_listed_the_journal_is_spoken_of_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a name."""
    monkeypatch.setattr(checkpoints, "LONG", 300)
    monkeypatch.setattr(parked_readers, "readers", lambda path: [])
    store.journal._checkpoints._length = checkpoints.JournalLength(store.path)
    with caplog.at_level(logging.WARNING, "perdure"), reader(store.path):
        grow(store, 600)
    assert "grows until the process that reads it has finished" in caplog.text


def test_this_process_is_named_as_such(store: Store) -> None:
    """It may be a cursor of one's own that is not read to the end."""
    assert parked_readers.finishes([os.getpid()]) == f"process {os.getpid()} (this process) has finished reading"
    many = parked_readers.finishes([1, os.getpid(), 3, 4])
    assert many.startswith("processes 1 (")
    assert many.endswith(" and 1 more have finished reading")


def test_a_reader_may_be_the_first_process_of_its_container(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named; a process of another container, which has no number here, is not."""
    at = os.stat(f"{store.path}-shm")
    inode = f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"
    lines = [f"{n}: POSIX  ADVISORY  READ {pid} {inode} 124 124" for n, pid in enumerate((1, 0, -1, 7))]
    monkeypatch.setattr(Path, "read_text", lambda path, **_: "\n".join(lines) if str(path) == "/proc/locks" else "")
    assert parked_readers.readers(store.path) == [1, 7]
