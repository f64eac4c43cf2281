"""A state file that has lost its write-ahead log, by what else lies there: SQLite takes it for whole."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from perdure.core.execution.run_effects import Begin, End, Start
from perdure.core.records import sealed_row
from perdure.errors import StateCorrupt
from perdure.operations.location import Location
from perdure.operations.skip_damaged_journal import skip_damaged_journal
from perdure.store import crashes, flight_record, lost_journal
from perdure.store.flight_recorder import Recorder
from perdure.store.runs import Store

GONE = "the journal of the state file is gone"


def begun(store: Store) -> Any:
    start = Start("s.py", "/s.py", "work", b"a".ljust(16), b"in", "a")
    return store.journal.write((), store.begin(Begin(start).start, time.time()))


def step(store: Store, taken: Any, number: int) -> None:
    row = (taken.run.rid, number, "step", bytes(16), number, "done", b"in", b"out", 0.0, 0, 1, 0, "step")
    store.journal.write([sealed_row(row)])


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The state file of a process that was killed after three steps, and all that lay beside it."""
    store = Store(tmp_path / "home" / "state.db")
    taken = begun(store)
    recorder = Recorder(flight_record.folder_of(store.path), store.holder.token, "/s.py", time.time())
    slot = recorder.begin(taken.run.id, "work", bytes(16), 1, 1, time.time())
    for number in (1, 2, 3):
        step(store, taken, number)
    recorder.end(slot)
    shutil.copytree(tmp_path / "home", tmp_path / "killed")
    recorder.close()
    store.close()
    return tmp_path / "killed" / "state.db"


def opened(path: Path) -> tuple[list[int], list[str]]:
    """The steps of the run that a process finds, and what it says before it executes a step."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("perdure").addHandler(handler)
    try:
        store = Store(path)
        try:
            crashes.collect(store)
            return [seq for seq, *_ in store.index(1)], lines
        finally:
            store.close()
    finally:
        logging.getLogger("perdure").removeHandler(handler)


def test_what_a_killed_process_has_left_is_used_without_a_word(killed: Path) -> None:
    """The control: nothing was removed."""
    assert opened(killed) == ([1, 2, 3], [])


@pytest.mark.parametrize("how", [Path.unlink, Path.touch], ids=["removed", "emptied"])
def test_a_journal_that_is_removed_or_emptied_is_named_before_the_file_is_used(killed: Path, how: Any) -> None:
    """By its index, which is still there: for who writes and for who looks, and nothing is changed."""
    journal = killed.with_name("state.db-wal")
    saved = journal.read_bytes()
    journal.unlink()
    if how is Path.touch:
        journal.touch()
    for _ in range(2):
        with pytest.raises(StateCorrupt, match=GONE):
            Store(killed)
        with pytest.raises(StateCorrupt, match=GONE):
            Store(killed, read_only=True)
    journal.write_bytes(saved)
    assert opened(killed) == ([1, 2, 3], [])


def test_a_journal_that_is_gone_is_given_up_by_a_command(killed: Path) -> None:
    """`perdure doctor --skip-damaged` keeps a copy of what is there, and the file is used again."""
    killed.with_name("state.db-wal").unlink()
    skipped = skip_damaged_journal(Location(killed, "--state"))
    assert skipped.gone
    assert (skipped.folder / "state.db").exists()
    found, lines = opened(killed)
    assert found == []
    assert [line for line in lines if "the file knows neither" in line]


def test_a_journal_whose_content_is_in_the_file_may_go(killed: Path) -> None:
    """As SQLite leaves it that was asked to write all of it to the file."""
    connection = written_back(killed)
    index = killed.with_name("state.db-shm").read_bytes()
    connection.close()
    assert not killed.with_name("state.db-wal").exists()
    killed.with_name("state.db-shm").write_bytes(index)
    assert opened(killed) == ([1, 2, 3], [])


def test_a_file_that_does_not_know_who_executed_runs_with_it_is_named(killed: Path) -> None:
    """The index went too, as with `rm state.db-*`: by the flight record, once."""
    for suffix in ("-wal", "-shm"):
        killed.with_name(f"state.db{suffix}").unlink()
    found, lines = opened(killed)
    assert found == []
    assert len(lines) == 1
    assert "the file knows neither" in lines[0]
    assert opened(killed) == ([], [])


def test_a_process_that_died_before_its_first_run_is_no_sign(killed: Path) -> None:
    """It may not have come to say who it is."""
    Recorder(flight_record.folder_of(killed), "1-00000000000000ff", "/s.py", time.time())
    assert opened(killed) == ([1, 2, 3], [])


def written_back(path: Path) -> apsw.Connection:
    """A connection that has written all of the journal to the file, and removes it when it is closed."""
    connection = apsw.Connection(str(path))
    connection.pragma("user_version")
    frames, written = connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_FULL)
    assert frames == written > 0
    return connection


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_copy_of_the_file_alone_is_named(killed: Path, tmp_path: Path, checkpointed: bool) -> None:
    """Whether the journal had been written to the file once, or not yet."""
    if checkpointed:
        connection = written_back(killed)
        connection.close()
    copy = tmp_path / "copy" / "state.db"
    copy.parent.mkdir(mode=0o700)
    shutil.copy(killed, copy)
    found, lines = opened(copy)
    assert found == ([1, 2, 3] if checkpointed else [])
    assert len(lines) == 1
    assert "nothing of a process lies beside it" in lines[0]


def test_a_copy_of_a_file_that_nobody_used_then_is_whole(killed: Path, tmp_path: Path) -> None:
    """All runs had ended, or were left in order."""
    store = Store(tmp_path / "ended" / "state.db")
    taken = begun(store)
    store.journal.write((), store.end(End(taken.run, "done", b"\xc0"), time.time()))
    store.close()
    copy = tmp_path / "copy" / "state.db"
    copy.parent.mkdir(mode=0o700)
    shutil.copy(tmp_path / "ended" / "state.db", copy)
    assert opened(copy)[1] == []


def test_the_index_is_not_closed_while_somebody_may_use_it(killed: Path) -> None:
    """That would drop the locks that SQLite has in this process; the descriptor goes when the file has gone."""
    killed.with_name("state.db-wal").unlink()
    assert lost_journal.lost_frames(killed) > 0
    kept = dict(lost_journal._kept)
    assert lost_journal.lost_frames(killed) > 0
    assert lost_journal._kept == kept
    killed.with_name("state.db-shm").unlink()
    lost_journal._let_go()
    assert len(lost_journal._kept) < len(kept)
