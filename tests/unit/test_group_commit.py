"""Group commit: what was acknowledged is saved, nobody waits for ever, and nobody pays for another's mistake."""

from __future__ import annotations

import asyncio
import dis
import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import apsw
import pytest

from perdure.core import records
from perdure.core.records import Row, sealed_row
from perdure.core.values.pieces import INLINE
from perdure.engines.local import loop_writes
from perdure.engines.local.loop_writes import LoopWrites
from perdure.errors import DiskFull, OptionError, StateCorrupt, StateError, StateIO
from perdure.store import group_commit
from perdure.store.checkpoints import AGAIN, CHECKPOINT
from perdure.store.group_commit import Entry, Journal
from perdure.store.rows import sealed
from perdure.store.runs import Store
from waiting import until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


def row(seq: int, run: int = 1) -> Row:
    return sealed_row((run, seq, "work", bytes(16), seq, "done", b"in", b"out", 0.0, 0, 1, 0, "step"))


def saved(store: Store) -> list[int]:
    return [seq for seq, *_ in store.index(1)]


class Failing:
    """Stands before the real connection and fails when told to."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.error: Exception | None = None
        self.commits = 0
        self.checkpoints = 0

    def wal_checkpoint(self, *, mode: int) -> object:
        self.checkpoints += 1
        return self.connection.wal_checkpoint(mode=mode)

    def execute(self, statement: str, *values: object) -> object:
        if statement == "COMMIT":
            self.commits += 1
        if self.error is not None and statement.split()[0] in ("INSERT", "COMMIT"):
            raise self.error
        return self.connection.execute(statement, *values)

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)


@pytest.fixture
def failing(store: Store) -> Failing:
    failing = Failing(store.journal._connection)
    store.journal._connection = failing  # type: ignore[assignment]
    store.journal._checkpoints._connection = failing  # type: ignore[assignment]
    return failing


def test_many_threads(store: Store) -> None:
    """Thousands of rounds of many threads: all that was acknowledged is there, and nobody sleeps for ever."""
    acknowledged: list[int] = []

    def work(first: int) -> None:
        for seq in range(first, first + 250):
            store.journal.write((row(seq),))
            acknowledged.append(seq)

    threads = [threading.Thread(target=work, args=(1 + k * 250,), daemon=True) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a lost wake-up"
    assert sorted(acknowledged) == saved(store) == list(range(1, 4001))


def test_a_reader_does_not_make_each_commit_a_checkpoint(store: Store, failing: Failing, tmp_path: Path) -> None:
    """A log that cannot start over, since somebody reads it, is played into the file now and then; when they have
    finished it starts over."""
    reader = apsw.Connection(str(tmp_path / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM step").fetchall()
    log = tmp_path / "state.db-wal"
    commits = iter(range(1, 100 * CHECKPOINT))
    while log.stat().st_size < 4096 * 2 * CHECKPOINT:
        store.journal.write((row(next(commits)),))
    assert 1 < failing.checkpoints <= 1 + CHECKPOINT / AGAIN + 1
    reader.close()
    before, length = failing.checkpoints, log.stat().st_size
    for _ in range(2 * CHECKPOINT):
        store.journal.write((row(next(commits)),))
    assert failing.checkpoints <= before + 3
    assert log.stat().st_size <= length + 4200 * AGAIN * 2


def test_waiting_threads_share_a_commit(store: Store, failing: Failing) -> None:
    """While one commit is on its way, whoever comes waits for the next, which takes all of them."""
    entered, go = threading.Event(), threading.Event()

    def slow(connection: apsw.Connection) -> None:
        entered.set()
        assert go.wait(60)

    leader = threading.Thread(target=lambda: store.journal.write((), slow))
    leader.start()
    assert entered.wait(60)
    followers = [threading.Thread(target=store.journal.write, args=((row(seq),),)) for seq in range(1, 21)]
    for follower in followers:
        follower.start()
    until(lambda: len(store.journal._waiting) == 20)
    go.set()
    for thread in (leader, *followers):
        thread.join(60)
    assert saved(store) == list(range(1, 21))
    assert failing.commits == 2


def test_a_violated_constraint_hits_the_guilty_only(store: Store) -> None:
    """The others of the same transaction are saved."""
    store.journal.write((row(2),))
    entries = [Entry((row(seq),)) for seq in (1, 2, 3)]
    store.journal.write_all(entries)
    assert [type(entry.error) for entry in entries] == [type(None), StateCorrupt, type(None)]
    assert saved(store) == [1, 2, 3]


def test_a_refusal_concerns_its_own_entry_only(store: Store) -> None:
    """An operation that refuses takes its own rows with it, and not the others."""

    def refuse(connection: apsw.Connection) -> None:
        raise OptionError("no")

    for first, rows in ((1, ()), (3, (row(4),))):
        entries = [Entry((row(first),)), Entry(rows, refuse), Entry((row(first + 1),), lambda connection: "fine")]
        store.journal.write_all(entries)
        assert isinstance(entries[1].error, OptionError)
        assert entries[2].result == "fine"
    assert saved(store) == [1, 2, 3, 4]
    with pytest.raises(OptionError, match="no"):
        store.journal.write((row(5),), refuse)
    assert saved(store) == [1, 2, 3, 4]


def test_a_task_whose_rows_are_refused_hears_of_it_alone(store: Store) -> None:
    """Those that save in the same turn of the loop are saved, and told so."""
    store.journal.write((row(2),))

    async def write() -> list[object]:
        writes = LoopWrites(store.journal, asyncio.get_running_loop())
        futures = [writes.write([row(seq)], result=seq) for seq in (1, 2, 3)]
        return await asyncio.gather(*futures, return_exceptions=True)

    first, refused, last = asyncio.run(write())
    assert (first, last) == (1, 3)
    assert isinstance(refused, StateCorrupt)
    assert saved(store) == [1, 2, 3]


@pytest.mark.parametrize("operation", [None, lambda connection: None])
def test_a_full_disk_is_told_to_all_and_can_heal(store: Store, failing: Failing, operation: object) -> None:
    """Nothing of the transaction is saved; when there is space again, the same store goes on."""
    failing.error = apsw.FullError("database or disk is full")
    entries = [Entry((row(seq),), operation) for seq in (1, 2)]  # type: ignore[arg-type]
    store.journal.write_all(entries)
    assert [type(entry.error) for entry in entries] == [DiskFull, DiskFull]
    failing.error = None
    assert saved(store) == []
    store.journal.write((row(1),))
    assert saved(store) == [1]


def test_after_an_io_error_nothing_is_written_any_more(store: Store, failing: Failing) -> None:
    """After a failed fsync the page cache lies: this connection is not trusted again."""
    store.journal.write((row(1),))
    failing.error = apsw.IOError("disk I/O error")
    with pytest.raises(StateIO):
        store.journal.write((row(2),))
    failing.error = None
    with pytest.raises(StateIO):
        store.journal.write((row(3),))
    assert saved(store) == [1]


def test_a_failure_reaches_waiting_threads(store: Store, failing: Failing) -> None:
    """A follower hears of the failed commit of its leader."""
    entered, go = threading.Event(), threading.Event()
    errors: list[StateError] = []

    def slow(connection: apsw.Connection) -> None:
        entered.set()
        assert go.wait(60)
        failing.error = apsw.FullError("database or disk is full")

    def follow() -> None:
        try:
            store.journal.write((row(1),))
        except StateError as error:
            errors.append(error)

    def lead() -> None:
        try:
            store.journal.write((), slow)
        except StateError as error:
            errors.append(error)

    leader = threading.Thread(target=lead)
    leader.start()
    assert entered.wait(60)
    follower = threading.Thread(target=follow)
    follower.start()
    until(lambda: store.journal._waiting)
    go.set()
    leader.join(60)
    follower.join(60)
    assert [type(error) for error in errors] == [DiskFull, DiskFull]
    failing.error = None
    store.journal.write((row(1),))
    assert saved(store) == [1]


def test_the_lock_is_free_after_every_failure(store: Store) -> None:
    """Also if an operation raises what nobody expected."""

    def broken(connection: apsw.Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.journal.write((row(1),), broken)
    assert saved(store) == []
    assert isinstance(store.journal, Journal)
    store.journal.write((row(1),))
    assert saved(store) == [1]


class Unheld:
    """A lock that says that it is free, as one does between its former holder and the thread that has got it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def locked(self) -> bool:
        return False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def asleep(store: Store, threads: int) -> bool:
    """Do so many wait in the queue?"""
    waiting = list(store.journal._waiting)
    return len(waiting) == threads and all(entry.wake is not None for entry in waiting)


@pytest.mark.parametrize("how", ["read", "write_together", "write"])
def test_who_comes_while_another_has_the_connection_shares_the_next_commit(
    store: Store, failing: Failing, how: str
) -> None:
    """Whoever has it, and whatever its lock says: they wait with what they write, and not for the lock, each of them
    with a commit of its own in mind."""
    store.journal._writer = Unheld()  # type: ignore[assignment]
    threads = [threading.Thread(target=store.journal.write, args=((row(seq),),), daemon=True) for seq in range(1, 21)]
    commits: list[int] = []

    def meanwhile(*_: object) -> None:
        if not commits:
            commits.append(failing.commits)
            for thread in threads:
                thread.start()
            until(lambda: asleep(store, 20))

    if how == "read":
        store.journal.read(meanwhile)
    elif how == "write":
        store.journal.write((), meanwhile)
    else:
        store.journal._turns.take = meanwhile  # type: ignore[method-assign]
        assert store.journal.write_together([row(100), row(101)]) is not None
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert saved(store)[:20] == list(range(1, 21))
    assert failing.commits == (1 if how == "read" else 2)


def test_those_who_are_served_wake_each_other(store: Store) -> None:
    """One at a time, so that they do not take the interpreter from each other; one that is gone stops nobody."""
    entries = [Entry((row(seq),)) for seq in range(1, 6)]
    for entry in entries:
        entry.wake = threading.Lock()
        entry.wake.acquire()
        store.journal._waiting.append(entry)
    entries[1].left = True
    store.journal.write((row(6),))
    assert saved(store) == [1, 2, 3, 4, 5, 6]
    assert [entry.wake is not None and entry.wake.locked() for entry in entries] == [False, True, True, True, True]
    store.journal._wait(entries[0])
    assert [entry.wake is not None and entry.wake.locked() for entry in entries[2:]] == [False, True, True]
    store.journal.read(lambda connection: None)
    store.journal.write((row(7),))
    assert [entry.wake is not None and entry.wake.locked() for entry in entries[3:]] == [False, True]
    store.journal._wait(entries[2])
    assert not store.journal._served


def test_a_failed_read_wakes_whoever_queued_behind_it(store: Store) -> None:
    """A writer that came while a read was under way is served, also when the read fails."""
    writer = threading.Thread(target=store.journal.write, args=([row(1)],), daemon=True)

    def question(connection: apsw.Connection) -> None:
        writer.start()
        until(lambda: asleep(store, 1))
        raise apsw.IOError("no luck")

    with pytest.raises(StateIO):
        store.journal.read(question)
    writer.join(60)
    assert not writer.is_alive()
    assert saved(store) == [1]


def test_a_thread_that_is_interrupted_as_it_is_to_lead_wakes_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was woken to commit what waits, and cannot, does not leave it to wait for ever."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    behind = Entry((row(2),))
    behind.wake = threading.Lock()
    behind.wake.acquire()
    store.journal._waiting.append(behind)
    monkeypatch.setattr(store.journal, "_lead", interrupted)
    interrupted_one = Entry((row(1),))
    store.journal._waiting.appendleft(interrupted_one)
    with pytest.raises(KeyboardInterrupt):
        store.journal._wait(interrupted_one)
    assert behind.wake.acquire(blocking=False)
    monkeypatch.undo()
    store.journal.write(())
    assert saved(store) == [1, 2], "what the interrupted one had asked for, too"


@pytest.mark.skipif(os.name != "posix", reason="signals to a thread")
def test_a_thread_that_is_interrupted_while_it_waits_keeps_nobody_waiting(store: Store) -> None:
    """Ctrl-C takes one of those that queue behind a commit out of its wait: the others are served all the same, and so
    is what it had asked for."""
    main, held, free, taken = threading.get_ident(), threading.Event(), threading.Event(), threading.Event()

    def hold(batch: object, done: bool) -> None:
        held.set()
        free.wait(60)

    def others() -> None:
        until(lambda: len(store.journal._waiting) == 2)
        behind.start()
        until(lambda: len(store.journal._waiting) == 3)
        while not taken.wait(0.2):  # one that comes just before the thread waits is seen with the next
            signal.pthread_kill(main, signal.SIGINT)

    def interrupted(number: int, frame: object) -> None:
        taken.set()
        raise KeyboardInterrupt

    def write(seq: int) -> threading.Thread:
        return threading.Thread(target=store.journal.write, args=((row(seq),),), daemon=True)

    store.journal.around = hold
    leader, before, behind = write(1), write(2), write(4)
    leader.start()
    assert held.wait(60)
    before.start()
    until(lambda: len(store.journal._waiting) == 1)
    usual = signal.signal(signal.SIGINT, interrupted)
    threading.Thread(target=others, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            store.journal.write((row(3),))
    finally:
        signal.signal(signal.SIGINT, usual)
    free.set()
    for thread in (leader, before, behind):
        thread.join(30)
        assert not thread.is_alive()
    assert saved(store) == [1, 2, 3, 4]


def test_a_forked_child_writes_nothing_of_its_parent(tmp_path: Path) -> None:
    """Neither what it is asked to write, nor what the parent had put off: the file is as the parent left it."""
    store = Store(tmp_path / "state.db")
    store.journal.ahead("INSERT INTO exempt VALUES (?, ?, ?, ?)", sealed(1, 2, 4))
    child = os.fork()
    if child == 0:
        store.journal.close_in_child()
        try:
            store.journal.write((), lambda connection: connection.execute("DELETE FROM holder") and None)
        except StateError:
            os._exit(len(store.journal._ahead))
        os._exit(9)
    assert os.waitpid(child, 0)[1] == 0
    store.journal.write((), lambda connection: None)
    assert store.exempted(1) == [(2, 4)]
    store.close()


def test_values_of_up_to_a_size_stay_in_their_row() -> None:
    """One byte more, and they lie in pieces."""
    for column in (records.INPUT, records.OUTPUT):
        for size, apart in ((INLINE, False), (INLINE + 1, True)):
            large = list(row(1))
            large[column] = os.urandom(size)
            rows = [tuple(large)]
            entry = Entry(rows)
            assert (entry.rows is not rows, bool(entry.pieces)) == (apart, apart)


def test_who_has_a_statement_carried_out_hears_of_its_commit(store: Store) -> None:
    """Not of a transaction that was rolled back: the statement comes with the next one then, and so does the word."""
    said: list[str] = []
    store.journal.ahead("INSERT INTO exempt VALUES (?, ?, ?, ?)", sealed(1, 2, 4), then=lambda: said.append("done"))

    def fail(connection: apsw.Connection) -> None:
        raise OSError("no")

    with pytest.raises(StateError):
        store.journal.write((), fail)
    assert said == []
    store.journal.write((), lambda connection: None)
    assert said == ["done"]


class CtrlC:
    """A trace that interrupts at the n-th line of one module where Python may: not at `try:` or the end of a `with`."""

    def __init__(self, at: int) -> None:
        self.left = at
        self._seen: set[int] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> CtrlC | None:
        if frame.f_code.co_filename != group_commit.__file__:
            return None
        instruction = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        if event == "line" and instruction != "NOP" and frame.f_lineno not in self._seen:
            self._seen.add(frame.f_lineno)
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("operation", [None, lambda connection: connection.changes()], ids=["row", "operation"])
def test_ctrl_c_at_any_line_of_a_commit_leaves_no_transaction_open(
    store: Store, operation: Callable[[apsw.Connection], object] | None
) -> None:
    """What is saved next is saved, and other processes write meanwhile: in a notebook the process lives on."""
    journal, known, at = store.journal, sys.gettrace(), 0
    other = apsw.Connection(str(store.path))
    while True:
        at += 1
        trace = CtrlC(at)
        try:
            sys.settrace(trace)
            journal.write((row(2 * at),), operation)
        except KeyboardInterrupt:
            sys.settrace(known)
            other.execute("BEGIN IMMEDIATE; ROLLBACK")
            journal.write((row(2 * at + 1),))
            assert 2 * at + 1 in saved(store)
        finally:
            sys.settrace(known)
        if trace.left > 0:
            break
    assert at > 10
    other.close()


def test_a_transaction_that_is_left_open_is_taken_back_before_anything_is_saved(store: Store) -> None:
    """A second Ctrl-C while the first one is handled: one row alone would be part of it, and lost with it."""
    store.journal._connection.execute("BEGIN IMMEDIATE")
    store.journal.write((row(1),))
    other = apsw.Connection(str(store.path))
    assert other.execute("SELECT count(*) FROM step").fetchall() == [(1,)]
    other.close()


def test_a_task_that_is_cancelled_as_its_commit_is_told_keeps_it_from_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler of SIGINT cancels between any two lines, also between the question and the answer."""

    class GivenUp(asyncio.Future[object]):
        def done(self) -> bool:
            return super().done() or not self.cancel()

    async def write() -> object:
        writes = LoopWrites(store.journal, asyncio.get_running_loop())
        with monkeypatch.context() as patch:
            patch.setattr(loop_writes, "asyncio", SimpleNamespace(Future=GivenUp))
            writes.write([row(1)])
        other = writes.write([row(2)], result="told")
        await asyncio.sleep(0)  # the turn in which it is committed
        return other.result()

    assert asyncio.run(write()) == "told"
    assert saved(store) == [1, 2]


def test_what_ctrl_c_takes_from_its_writer_is_not_committed(store: Store) -> None:
    """Between the queue and whoever waits: the run is let go, and what is written of it then is refused, in a traceback
    of a future that nobody has."""
    began: list[str] = []

    def ctrl_c(frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() == "return future":
            sys.settrace(known)
            raise KeyboardInterrupt
        return ctrl_c

    async def write() -> object:
        writes = LoopWrites(store.journal, asyncio.get_running_loop())
        sys.settrace(ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            writes.write((), lambda connection: began.append("taken"))
        other = writes.write((), lambda connection: began.append("other"))
        await other
        return writes.write([row(1)], result="told")

    known = sys.gettrace()
    try:
        asyncio.run(write())
    finally:
        sys.settrace(known)
    assert began == ["other"]
