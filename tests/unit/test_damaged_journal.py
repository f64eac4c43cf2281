"""Damage in the write-ahead log, where SQLite sees its end: what was saved behind it is not dropped without a word."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from conftest import replace
from perdure.core.execution.run_effects import Begin, Start, Taken
from perdure.core.records import sealed_row
from perdure.errors import NotFound, StateBusy, StateCorrupt
from perdure.operations.doctor import examine
from perdure.operations.location import Location
from perdure.operations.skip_damaged_journal import skip_damaged_journal
from perdure.store import journal_check
from perdure.store.connection import keep_journal, open_connection
from perdure.store.journal_check import commits_behind_damage
from perdure.store.runs import Store

HEADER, FRAME, PAGE, SECTOR = 32, 24, 4096, 512
LARGE = (3, 7, 8, 9)
"""Steps whose results take several pages."""
STEPS = range(1, 10)


def step(store: Store, taken: Taken, number: int) -> None:
    output = bytes(9000) if number in LARGE else b"out"
    row = (taken.run.rid, number, "step", bytes(16), number, "done", b"in", output, 0.0, 0, 1, 0, "step")
    store.journal.write([sealed_row(row)])


class Killed:
    """The files of a process that was killed: `log` is its journal, `ends` the frames that end its commits."""

    def __init__(self, folder: Path, log: bytes | None = None) -> None:
        self.state = folder / "state.db"
        self.journal = folder / "state.db-wal"
        self.log = log if log is not None else self.journal.read_bytes()
        self.count = (len(self.log) - HEADER) // (FRAME + PAGE)
        self.ends = [number for number in range(1, self.count + 1) if self.header(number)[1]]

    def header(self, number: int) -> tuple[Any, ...]:
        return struct.unpack_from(">6I", self.log, self.place(number))

    @staticmethod
    def place(number: int) -> int:
        return HEADER + (number - 1) * (FRAME + PAGE)

    def found_with(self, log: bytes) -> set[int]:
        """The steps that a reader finds if that is the journal."""
        self.journal.write_bytes(log)
        self.journal.with_name("state.db-shm").unlink(missing_ok=True)
        store = Store(self.state, read_only=True)
        try:
            return {seq for seq, *_ in store.index(1)}
        finally:
            store.close()

    def flipped(self, place: int, bit: int) -> bytes:
        log = bytearray(self.log)
        log[place] ^= 1 << bit
        return bytes(log)


def left_by(store: Store, folder: Path) -> Killed:
    shutil.copytree(store.path.parent, folder)
    return Killed(folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """Each step is a commit, as a step of a script is."""
    folder = tmp_path_factory.mktemp("damaged_journal")
    store = Store(folder / "home" / "state.db")
    started: Any = store.journal.write(
        (), store.begin(Begin(Start("s.py", "/s.py", "work", b"a".ljust(16), b"in", "a")).start, 1.0)
    )
    for number in STEPS:
        step(store, started, number)
    yield left_by(store, folder / "killed")
    store.close()


def test_what_lies_behind_a_flipped_bit_is_not_dropped_without_a_word(killed: Killed) -> None:
    """At any place of the journal: an error, or nothing is lost but the last commit, as by a power cut."""
    rng = random.Random(4)
    places = [*range(HEADER)]
    for number in range(1, killed.count + 1):
        offsets = [*rng.sample(range(FRAME), 5), FRAME, FRAME + rng.randrange(PAGE), FRAME + PAGE - 1]
        places += [killed.place(number) + offset for offset in offsets]
    last = killed.place(killed.ends[-2] + 1)
    named = 0
    for place in places:
        try:
            found = killed.found_with(killed.flipped(place, rng.randrange(8)))
        except StateCorrupt as error:
            named += 1
            if "journal of the state file is damaged" not in str(error) or place >= last:
                pytest.fail(f"a power cut may leave this: {place}, {error}")
        else:
            assert found >= {*STEPS} - {STEPS[-1]}, f"steps were lost without a word: {place}, {sorted(found)}"
    assert named > len(places) / 2
    assert killed.found_with(killed.log) == {*STEPS}


def test_damage_before_the_last_two_commits_is_named_wherever_it_is(killed: Killed) -> None:
    """Each bit of a header, and one of each eight of the page."""
    places = [(number, offset) for number in (1, killed.ends[2], killed.ends[4]) for offset in range(FRAME)]
    places += [(killed.ends[3], FRAME + offset) for offset in range(0, PAGE, 64)]
    for number, offset in places:
        with pytest.raises(StateCorrupt, match="journal of the state file is damaged"):
            killed.found_with(killed.flipped(killed.place(number) + offset, offset % 8))


def test_what_a_power_cut_leaves_of_the_last_commit_is_no_damage(killed: Killed) -> None:
    """Cut off at any sector, and any of its sectors not written, or garbage."""
    first = killed.place(killed.ends[-2] + 1)
    size = len(killed.log)
    logs = [killed.log[:cut] for cut in range(first, size, SECTOR)]
    rng = random.Random(7)
    for _ in range(60):
        log = bytearray(killed.log)
        for begin in range(first - first % SECTOR, size, SECTOR):
            if rng.random() < 0.4:
                where = slice(max(first, begin), min(size, begin + SECTOR))
                length = where.stop - where.start
                log[where] = rng.choice((bytes(length), rng.randbytes(length), killed.log[HEADER : HEADER + length]))
        logs.append(bytes(log))
    for log in logs:
        assert killed.found_with(log) >= {*STEPS} - {STEPS[-1]}


@pytest.mark.parametrize("size", [4, 24, 32, 56, 512, 4096, 8192, 40_000])
def test_a_journal_whose_beginning_was_lost_is_named(killed: Killed, size: int) -> None:
    """The header with all that says whose frames those are, and the first ones: a sector, a page, or more."""
    for lost in (bytes(size), b"\xff" * size, random.Random(size).randbytes(size)):
        with pytest.raises(StateCorrupt, match="journal of the state file is damaged"):
            killed.found_with(lost + killed.log[size:])


def test_a_header_that_a_power_cut_has_torn_is_no_damage(killed: Killed, tmp_path: Path) -> None:
    """Where a journal begins anew, all that lies behind its header is in the file."""
    folder = tmp_path / "again"
    shutil.copytree(killed.state.parent, folder)
    (folder / "state.db-wal").write_bytes(killed.log)
    (folder / "state.db-shm").unlink(missing_ok=True)
    store = Store(folder / "state.db")
    store.journal.read(lambda connection: connection.wal_checkpoint("main", 0))
    left = left_by(store, tmp_path / "left")
    store.close()
    for lost in (bytes(HEADER), random.Random(3).randbytes(HEADER)):
        assert left.found_with(lost + left.log[HEADER:]) == {*STEPS}


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_a_journal_of_which_nothing_was_written_is_no_damage(killed: Killed, fill: bytes) -> None:
    """Its length was on the disk before its content: a file system fills it."""
    assert killed.found_with(fill * len(killed.log)) == set()
    assert killed.found_with(bytes(HEADER) + fill * len(killed.log)) == set()


def test_commits_that_were_written_over_are_no_damage(killed: Killed, tmp_path: Path) -> None:
    """A process died before its commit was whole; what the next one writes is shorter, and the rest lies behind it."""
    folder = tmp_path / "again"
    shutil.copytree(killed.state.parent, folder)
    broken = killed.flipped(killed.place(killed.ends[-2] + 1) + FRAME, 0)
    (folder / "state.db-wal").write_bytes(broken)
    (folder / "state.db-shm").unlink(missing_ok=True)
    store = Store(folder / "state.db")
    store.journal.write([sealed_row((1, 40, "step", bytes(16), 40, "done", b"in", b"", 0.0, 0, 1, 0, "step"))])
    left = left_by(store, tmp_path / "left")
    store.close()
    assert left.count == killed.count
    assert left.found_with(left.log) == {*STEPS, 40} - {STEPS[-1]}


def test_a_journal_of_an_earlier_use_is_no_damage(killed: Killed, tmp_path: Path) -> None:
    """All of it is in the file; what lies behind the frames that were written since is of before."""
    folder = tmp_path / "again"
    shutil.copytree(killed.state.parent, folder)
    (folder / "state.db-wal").write_bytes(killed.log)
    (folder / "state.db-shm").unlink(missing_ok=True)
    store = Store(folder / "state.db")
    store.journal.read(lambda connection: None)
    store.journal._connection.wal_checkpoint("main", 2)
    store.journal.write([sealed_row((1, 40, "step", bytes(16), 40, "done", b"in", b"", 0.0, 0, 1, 0, "step"))])
    left = left_by(store, tmp_path / "left")
    store.close()
    assert left.count == killed.count
    assert left.found_with(left.log) == {*STEPS, 40}


def test_a_journal_that_is_being_written_is_no_damage(tmp_path: Path) -> None:
    """A reader opens the file again and again while commits are made and the journal begins anew."""
    store = Store(tmp_path / "home" / "state.db")
    taken: Any = store.journal.write(
        (), store.begin(Begin(Start("s.py", "/s.py", "work", b"a".ljust(16), b"in", "a")).start, 1.0)
    )
    pid = os.fork()
    if not pid:
        try:
            for _ in range(60):
                Store(store.path, read_only=True).close()
            os._exit(0)
        except BaseException as error:  # it must not go on in pytest
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    number = 0
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        number += 1
        step(store, taken, number)
    assert ended[1] == 0
    assert number > 1
    store.close()


def test_an_index_that_is_being_written_is_looked_at_again(killed: Killed) -> None:
    """SQLite refuses at once to say how long the log is while another process writes that down."""

    class Refused:
        def __init__(self, connection: Any) -> None:
            self.refusals = 1
            self._connection = connection

        def wal_checkpoint(self, *given: Any) -> Any:
            self.refusals -= 1
            if self.refusals >= 0:
                raise apsw.BusyError("database is locked")
            return self._connection.wal_checkpoint(*given)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

    connection = open_connection(killed.state, "FULL", read_only=True)
    try:
        connection.pragma("user_version")
        refused: Any = Refused(connection)
        assert commits_behind_damage(refused, killed.state) == 0
        assert refused.refusals < 0
    finally:
        connection.close()


def test_a_damaged_journal_is_given_up_by_a_command_and_kept(killed: Killed, tmp_path: Path) -> None:
    """`perdure doctor` says what is wrong; `--skip-damaged` goes on with what was saved before, and keeps a copy."""
    folder = tmp_path / "again"
    shutil.copytree(killed.state.parent, folder)
    broken = killed.flipped(killed.place(killed.ends[4]) + FRAME, 0)
    (folder / "state.db-wal").write_bytes(broken)
    (folder / "state.db-shm").unlink(missing_ok=True)
    location = Location(folder / "state.db", "--state")
    for open_it in (Store, lambda path: Store(path, read_only=True)):
        with pytest.raises(StateCorrupt, match="behind it are made again"):
            open_it(location.path)
        assert (folder / "state.db-wal").read_bytes() == broken
    assert [check.verdict for check in examine(location).state if "--skip-damaged" in check.hint] == ["wrong"]
    skipped = skip_damaged_journal(location)
    assert skipped.commits == len(killed.ends) - 4
    assert (skipped.folder / "state.db-wal").read_bytes() == broken
    store = Store(location.path)
    assert {seq for seq, *_ in store.index(1)} == {1, 2, 3}
    with pytest.raises(StateBusy):
        begin_elsewhere(store, lambda: skip_damaged_journal(location))
    store.close()
    with pytest.raises(NotFound, match="is not damaged"):
        skip_damaged_journal(location)


def begin_elsewhere(store: Store, then: Callable[[], object]) -> None:
    """Something runs there meanwhile."""
    start = Start("s.py", "/s.py", "work", b"b".ljust(16), b"in", "b")
    store.journal.write((), store.begin(Begin(start).start, 1.0))
    then()


def test_what_is_left_of_earlier_uses_of_the_log_is_not_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that has begun anew has old frames behind its end, up to a megabyte of them: their headers say so. To sum
    up their pages, in Python, would take as long as all else of a start."""
    store = Store(tmp_path / "state.db")
    started: Any = store.journal.write(
        (), store.begin(Begin(Start("s.py", "/s.py", "work", b"a".ljust(16), b"in", "a")).start, 1.0)
    )
    for number in range(1, 30):
        step(store, started, number)
    store.journal.read(lambda connection: connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_RESTART))
    step(store, started, 30)
    killed = left_by(store, tmp_path / "killed")
    store.close()
    salts = {killed.header(number)[2:4] for number in range(1, killed.count + 1)}
    assert len(salts) == 2
    assert killed.count > 30
    sums: list[int] = []
    summed = journal_check._Log._summed
    monkeypatch.setattr(journal_check._Log, "_summed", lambda *given: sums.append(len(given[1])) or summed(*given))
    connection = open_connection(killed.state, "FULL")
    connection.pragma("user_version")
    assert commits_behind_damage(connection, killed.state) == 0
    connection.close()
    assert sum(size >= PAGE for size in sums) <= 2, sums


def continued(killed: Killed, folder: Path, pages: int) -> Killed:
    """The same files after one more commit, of so many pages at least."""
    folder.mkdir()
    shutil.copy(killed.state, folder / "state.db")
    (folder / "state.db-wal").write_bytes(killed.log)
    connection = open_connection(folder / "state.db", "FULL")
    keep_journal(connection)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"BEGIN; CREATE TABLE more (x); INSERT INTO more VALUES (zeroblob({pages * PAGE})); COMMIT")
    connection.close()
    return Killed(folder)


def test_a_commit_over_one_that_nobody_counts_is_no_damage(
    killed: Killed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process was killed when it had written a commit, and before it was counted; the next one writes over it. Who
    reads the beginning of a frame of the one, and the rest of it of the other, looks once more."""
    dead, next_one = continued(killed, tmp_path / "dead", 0), continued(killed, tmp_path / "next", 20)
    at = dead.ends[len(killed.ends)]
    assert killed.count < at < next_one.ends[len(killed.ends)]
    killed.journal.write_bytes(killed.log)
    killed.journal.with_name("state.db-shm").unlink(missing_ok=True)
    reader = open_connection(killed.state, "FULL", read_only=True)
    assert reader.execute("SELECT count(*) FROM run").fetchone() == (1,)
    killed.journal.write_bytes(next_one.log)  # written, and not counted yet
    read, before = journal_check._Log._frame, [dead.header(at)]

    def frame(self: journal_check._Log, number: int) -> Any:
        found = read(self, number)
        if number != at or not before:
            return found
        page, size, *salts, one, two = before.pop()
        return journal_check._Frame(page, size, (salts[0], salts[1]), (one, two))

    replace(monkeypatch, journal_check._Log, "_frame", frame)
    assert commits_behind_damage(reader, killed.state) == 0
    assert before == [], "the frame was read"
    reader.close()
