"""A state file that is removed, exchanged or emptied while a process uses it: named, and what is left of it is kept."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from conftest import replace
from perdure import step, workflow
from perdure.alerts import unusable_state
from perdure.alerts.watchdog.client import Watchdog, describe_exception
from perdure.core.execution.run_effects import Begin, Start, Taken
from perdure.core.records import sealed_row
from perdure.errors import StateCorrupt, StateReplaced
from perdure.store import journal_check, watch
from perdure.store.checkpoints import CHECKPOINT
from perdure.store.runs import Store

PLAYED = range(2, 60)
"""With so many pages in the journal, SQLite plays it into a file that was cut short, unless too much is missing."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state.db"


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock in these tests."""
    monkeypatch.setattr(watch, "LOOK_AGAIN", 0.0)


def begin(store: Store, name: str = "a") -> Taken:
    start = Start("s.py", "/s.py", "work", name.encode().ljust(16), b"in", name)
    taken: Any = store.journal.write((), store.begin(Begin(start).start, 1.0))
    assert isinstance(taken, Taken)
    return taken


def save(store: Store, taken: Taken, *numbers: int, output: bytes = b"out") -> None:
    rows = [
        (taken.run.rid, seq, "step", bytes(16), seq, "done", b"in", output, 0.0, 0, 1, 0, "step") for seq in numbers
    ]
    store.journal.write([sealed_row(row) for row in rows])


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "journal removed"])
def test_a_file_that_is_gone_is_noticed_at_the_next_commit(path: Path, tmp_path: Path, how: str) -> None:
    """A named error, again and again: nothing is acknowledged that no one will ever read."""
    store = Store(path)
    taken = begin(store)
    save(store, taken, 1)
    match how:
        case "removed":
            path.unlink()
        case "moved":
            path.rename(tmp_path / "else.db")
        case "replaced":
            Store(tmp_path / "other.db").close()
            (tmp_path / "other.db").replace(path)
        case _:
            path.with_name("state.db-wal").unlink()
    for attempt in (
        lambda: save(store, taken, 2),
        lambda: begin(store, "b"),
        lambda: save(store, taken, 2),
    ):
        with pytest.raises(StateReplaced):
            attempt()
    store.close()


def test_closing_the_file_that_was_there_leaves_the_new_one_alone(path: Path, tmp_path: Path) -> None:
    """SQLite removes the journal by its name, which is that of the new file by now."""
    first = Store(path)
    save(first, begin(first), 1)
    aside = tmp_path / "aside"
    path.parent.rename(aside)
    second = Store(path)
    save(second, begin(second), 1)
    first.close()
    shutil.copytree(path.parent, tmp_path / "as it would be found")
    second.close()
    found = Store(tmp_path / "as it would be found" / "state.db")
    assert [seq for seq, *_ in found.index(1)] == [1]
    found.close()


@pytest.mark.parametrize("size", [0, 4096, 65_536])
def test_a_file_that_is_emptied_is_not_written_any_more(path: Path, size: int) -> None:
    """Named at the next commit; neither then nor at the end is the journal played into it: it is all that is left."""
    store = Store(path)
    taken = begin(store)
    save(store, taken, *PLAYED, output=bytes(4000))
    os.truncate(path, size)
    journal = path.with_name("state.db-wal").read_bytes()
    for attempt in (lambda: save(store, taken, 1), lambda: begin(store, "b")):
        with pytest.raises(StateReplaced, match="shortened" if size else "emptied"):
            attempt()
    store.close()
    assert path.stat().st_size == size
    assert path.with_name("state.db-wal").read_bytes() == journal


def test_the_journal_of_an_emptied_file_is_kept_by_those_who_come_next(path: Path) -> None:
    """The next start refuses the file, and says where what was saved last is."""
    store = Store(path)
    save(store, begin(store), 1)
    os.truncate(path, 0)
    store.close()
    journal = path.with_name("state.db-wal").read_bytes()
    assert journal
    for read_only in (False, True):
        with pytest.raises(StateCorrupt) as refused:
            Store(path, read_only=read_only)
        assert "state.db-wal" in refused.value.hint
    assert path.with_name("state.db-wal").read_bytes() == journal


def test_a_file_that_is_cut_short_after_the_last_commit_is_not_made_into_half_a_file(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No commit finds it: closing does, says so, and keeps the journal."""
    store = Store(path)
    save(store, begin(store), *PLAYED, output=bytes(4000))
    os.truncate(path, 65_536)
    store.close()
    assert "shortened" in caplog.text
    assert path.stat().st_size == 65_536
    assert path.with_name("state.db-wal").stat().st_size


def test_a_checkpoint_looks_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also between two looks: what was saved goes into the file in order, or stays in the journal."""
    store = Store(path)
    taken = begin(store)
    monkeypatch.setattr(watch, "LOOK_AGAIN", 1e9)
    save(store, taken, 1)
    save(store, taken, 2)  # looked a moment ago: not again
    os.truncate(path, 0)
    save(store, taken, *range(3, 3 + CHECKPOINT), output=bytes(4000))  # saved, in the journal
    assert path.stat().st_size == 0
    with pytest.raises(StateReplaced, match="emptied"):
        save(store, taken, 4 + CHECKPOINT)
    store.close()
    assert path.with_name("state.db-wal").stat().st_size > 4096 * CHECKPOINT


def test_a_long_journal_is_played_into_the_file(path: Path) -> None:
    """The control of the test above: with the file as it was, it does not grow for ever."""
    store = Store(path)
    taken = begin(store)
    before = path.stat().st_size
    for first in range(1, 6 * CHECKPOINT, CHECKPOINT // 2):
        save(store, taken, *range(first, first + CHECKPOINT // 2), output=bytes(4000))
    assert path.stat().st_size > before + 4 * 4096 * CHECKPOINT
    assert path.with_name("state.db-wal").stat().st_size < 4096 * CHECKPOINT * 2
    store.close()
    assert not path.with_name("state.db-wal").exists()


def test_what_sqlite_cuts_off_is_not_taken_for_a_loss(path: Path, tmp_path: Path) -> None:
    """A copy whose journal was copied first has a file that is longer than the journal says: the first checkpoint cuts
    off the rest, and the process goes on."""
    store = Store(path)
    taken = begin(store)
    save(store, taken, 1)
    copy = tmp_path / "copy" / "state.db"
    shutil.copytree(path.parent, copy.parent)
    store.close()
    copy.with_name("state.db-shm").unlink()
    length = copy.stat().st_size
    os.truncate(copy, length + 4096 * CHECKPOINT * 4)
    store = Store(copy)
    taken = begin(store, "b")
    for number in range(1, 2 * CHECKPOINT):
        save(store, taken, number, output=bytes(4000))
    assert length < copy.stat().st_size < length + 4096 * CHECKPOINT * 4
    store.close()


def test_a_journal_that_is_emptied_is_noticed(path: Path) -> None:
    """SQLite writes on behind a hole: what it held is lost, and nothing more is said to be saved."""
    store = Store(path)
    taken = begin(store)
    save(store, taken, 1)
    os.truncate(path.with_name("state.db-wal"), 0)
    save(store, taken, 2)  # a checkpoint may have emptied it: what is written now shows that none has
    with pytest.raises(StateReplaced, match=r"state\.db-wal"):
        save(store, taken, 3)
    store.close()


def test_a_file_that_sqlite_has_shortened_is_used_on(path: Path) -> None:
    """A VACUUM beside a run, by whatever program, and a checkpoint that empties the journal."""
    store = Store(path)
    taken = begin(store)
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE junk (x); INSERT INTO junk VALUES (zeroblob(900000)); DROP TABLE junk").fetchall()
    for seq in (1, 2):
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        save(store, taken, seq)
    before = path.stat().st_size
    other.execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert path.stat().st_size < before
    for seq in (3, 4):
        save(store, taken, seq)
    other.close()
    store.close()
    found = Store(path)
    assert [seq for seq, *_ in found.index(1)] == [1, 2, 3, 4]
    found.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_backup_that_is_copied_over_the_file_is_not_used_with_a_later_journal(
    path: Path, tmp_path: Path, read_only: bool
) -> None:
    """Refused, and the journal is kept: played into the backup, it makes one file of parts of two. Without it: fine."""
    store = Store(path)
    taken = begin(store)
    save(store, taken, 1)
    shutil.copytree(path.parent, tmp_path / "backup")
    for first in range(2, 4 * CHECKPOINT, CHECKPOINT // 2):
        save(store, taken, *range(first, first + CHECKPOINT // 2), output=bytes(4000))
    shutil.copytree(path.parent, tmp_path / "killed")
    store.close()
    found = tmp_path / "killed" / "state.db"
    shutil.copyfile(tmp_path / "backup" / "state.db", found)
    journal = found.with_name("state.db-wal").read_bytes()
    with pytest.raises(StateCorrupt, match="shorter than its journal"):
        Store(found, read_only=read_only)
    assert found.with_name("state.db-wal").read_bytes() == journal
    for suffix in ("-wal", "-shm"):
        found.with_name(f"state.db{suffix}").unlink()
    Store(found, read_only=read_only).close()


def test_a_journal_that_all_of_the_file_is_in_belongs_to_it(path: Path, tmp_path: Path) -> None:
    """As a killed process leaves it: the file has grown, and is still as it was made."""
    store = Store(path)
    save(store, begin(store), *PLAYED, output=bytes(4000))
    shutil.copytree(path.parent, tmp_path / "killed")
    store.close()
    found = Store(tmp_path / "killed" / "state.db")
    assert [seq for seq, *_ in found.index(1)] == list(PLAYED)
    found.close()


PAGE = 512


def journal(*frames: tuple[int, int, bool], magic: int = 0x377F0682, page: int = PAGE) -> bytes:
    """A write-ahead log: of each frame its page, the size of the database after it, and whether it is of this use."""
    order = ">" if magic & 1 else "<"
    data = struct.pack(">6I", magic, 0, page, 0, 11, 22)
    sums = summed(order, data, (0, 0))
    data += struct.pack(">2I", *sums)
    for number, size, own in frames:
        head = struct.pack(">2I", number, size)
        sums = summed(order, head + bytes(page), sums)
        data += head + struct.pack(">4I", 11, 22 if own else 23, *sums) + bytes(page)
    return data


def summed(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """The checksum of a write-ahead log (https://sqlite.org/fileformat2.html#checksum_algorithm)."""
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) % 2**32
        two = (two + second + one) % 2**32
    return one, two


@pytest.mark.parametrize(
    ("pages", "log", "stale"),
    [
        (3, None, False),
        (3, b"", False),
        (3, journal()[:31], False),
        (3, journal(), False),
        (2, journal((3, 3, True)), False),
        (1, journal((3, 3, True)), True),
        (1, journal((2, 0, True), (3, 3, True)), False),
        (1, journal((3, 3, True), (2, 0, True)), False),
        (0, journal((2, 2, True)), True),
        (1, journal((1, 3, True)), True),
        (3, journal((1, 3, True)), False),
        (1, journal((1, 3, False)), False),
        (1, journal((1, 1, True), (3, 3, False)), False),
        (1, journal((1, 3, True))[:-521], False),
        (1, journal((1, 3, True), magic=0x377F0683), True),
        (1, journal((1, 3, True), magic=0x377F0684), False),
        (1, journal((1, 3, True), page=256), False),
        (1, journal((1, 1, True))[:32] + journal((1, 9, True))[32:40] + journal((1, 1, True))[40:], False),
    ],
    ids=lambda value: "log" if isinstance(value, bytes) else str(value),
)
def test_a_file_that_is_shorter_than_its_journal_builds_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int, log: bytes | None, stale: bool
) -> None:
    """A page that is neither in the file nor in the journal was cut off; what is there is looked at some times."""
    looks: list[float] = []
    monkeypatch.setattr(journal_check, "time", SimpleNamespace(sleep=looks.append))
    path = tmp_path / "state.db"
    path.write_bytes(bytes(pages * PAGE))
    if log is not None:
        path.with_name("state.db-wal").write_bytes(log)
    opened = len(os.listdir("/dev/fd"))
    if stale:
        with pytest.raises(StateCorrupt, match="shorter than its journal expects"):
            journal_check.refuse_stale_journal(path)
        assert looks == [0.05, 0.1, 0.2, 0.4]
        path.write_bytes(bytes(9 * PAGE))
        looks.clear()
    journal_check.refuse_stale_journal(path)
    assert looks == []
    assert len(os.listdir("/dev/fd")) == opened


def test_a_run_that_it_stops_is_alerted_as_that_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its watchdog process alerts the run with what to do; the file is not alerted besides."""
    state = tmp_path / "state.db"
    monkeypatch.setenv("PERDURE_STATE", str(state))
    heard: list[object] = []
    replace(monkeypatch, Watchdog, "began", lambda self, *given, **more: None)
    replace(monkeypatch, Watchdog, "stopped", lambda self, run, error: heard.append(describe_exception(error).hint))
    replace(monkeypatch, unusable_state, "alert_unusable_state", lambda spec, error: heard.append(error))

    @step
    def move() -> None:
        state.rename(tmp_path / "moved.db")

    @workflow(alert="exec:/bin/true")
    def job() -> None:
        move()

    with pytest.raises(StateReplaced):
        job()
    (hint,) = heard
    assert str(hint).startswith("end what still runs")
