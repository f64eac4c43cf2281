"""Processes that write to one state file take turns: nobody overtakes who waits, and nobody waits for ever."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.core.records import Row, sealed_row
from perdure.store import write_turns
from perdure.store.runs import Store
from perdure.store.write_turns import NEXT, WRITER, WriteTurns
from waiting import until

fcntl = pytest.importorskip("fcntl")

ENDLESS = 1e6
"""Seconds: who waits so long for what does not come is found by the limit of the whole test."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def opened(state: Path) -> Iterator[Callable[..., WriteTurns]]:
    """Makes the turns of one more process."""
    made: list[WriteTurns] = []

    def process(patience: float = ENDLESS) -> WriteTurns:
        made.append(WriteTurns(state, patience))
        return made[-1]

    yield process
    for turns in made:
        turns.give()
        turns.close()


def row(seq: int) -> Row:
    return sealed_row((1, seq, "work", bytes(16), seq, "done", b"", b"", 0.0, 0, 1, 0, "step"))


def is_free(state: Path, name: str) -> bool:
    """Is that lock to be had at this moment?"""
    descriptor = os.open(state.with_name(state.name + "-locks") / name, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_who_has_just_written_lines_up_behind_who_waits(state: Path, opened: Callable[..., WriteTurns]) -> None:
    """However fast it asks again, it does not overtake a process that was there before: forty times in a row."""
    busy, patient = opened(), opened()
    order: list[str] = []
    for _ in range(40):
        busy.take()

        def wait() -> None:
            patient.take()
            order.append("patient")
            patient.give()

        waiting = in_thread(wait)
        until(lambda: not is_free(state, NEXT), "that the other process lines up")
        busy.give()
        busy.take()
        order.append("busy")
        busy.give()
        waiting.join()
    assert order == ["patient", "busy"] * 40


HOLDER = """
import os, sys
from pathlib import Path
from perdure.store.write_turns import WriteTurns

turns = WriteTurns(Path(sys.argv[1]))
turns.take()
print("taken", flush=True)
sys.stdin.readline()
turns.give()
print("given", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has its turn."""
    words = [sys.executable, "-c", HOLDER, str(state)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.communicate()  # closes the pipes too


def test_a_killed_process_frees_its_turn(holder: subprocess.Popen[str], opened: Callable[..., WriteTurns]) -> None:
    """Who waits for it goes on, without running out of patience."""
    mine = opened()
    waiting = in_thread(mine.take)
    holder.kill()
    waiting.join()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes are not suspended there")
def test_a_suspended_process_is_waited_for_once(
    state: Path, holder: subprocess.Popen[str], opened: Callable[..., WriteTurns]
) -> None:
    """The others run out of patience and go without a turn, without waiting again; when it goes on, so do the turns."""
    holder.send_signal(signal.SIGSTOP)
    mine = opened(0.02)
    mine.take()
    mine.give()
    mine._patience = ENDLESS
    for _ in range(3):
        mine.take()
        mine.give()
    assert not is_free(state, WRITER)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("give\n")
    holder.stdin.flush()
    holder.send_signal(signal.SIGCONT)
    assert holder.stdout.readline() == "given\n"
    line = mine._line
    assert line is not None
    until(lambda: not line.is_left_behind(), "that the one left behind gives its turn away")
    assert is_free(state, WRITER)
    mine.take()
    assert not is_free(state, WRITER)


class Cut:
    """A lock at which a signal's handler raises something: after it was had (`late`), or while it is waited for."""

    def __init__(self, real: threading.Lock, late: bool) -> None:
        self.release = real.release
        self._real = real
        self._late = late

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking:
            return self._real.acquire(False)
        if self._late:
            self._real.acquire()
        raise KeyboardInterrupt


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupted_wait_keeps_nobody_waiting(
    state: Path, opened: Callable[..., WriteTurns], monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Ctrl-C while a process lines up, also just when its turn has come: the turn is not lost."""
    first, cut, third = opened(), opened(), opened()
    make = write_turns._Line.__init__
    waits = threading.Event()

    def made(self: write_turns._Line, following: int, writer: int) -> None:
        make(self, following, writer)
        self._come = Cut(self._come, late)  # type: ignore[assignment]
        waits.set()

    monkeypatch.setattr(write_turns._Line, "__init__", made)
    first.take()

    def free() -> None:
        waits.wait()  # a first, short look of `cut` has the lock of who is next for a moment, too
        until(lambda: not is_free(state, NEXT), "that the other process lines up")
        first.give()

    freeing = in_thread(free)
    with pytest.raises(KeyboardInterrupt):
        cut.take()
    cut.give()
    freeing.join()
    monkeypatch.undo()
    third.take()
    third.give()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP])
def test_without_such_locks_everything_is_saved(state: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A file system that does not keep them: SQLite's own lock decides, as it would without turns."""

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    store = Store(state)
    monkeypatch.setattr(write_turns, "flock", refuse)
    store.journal.write((row(1),))
    assert [seq for seq, *_ in store.index(1)] == [1]
    store.close()


def test_each_transaction_is_in_a_turn_and_ends_it(state: Path) -> None:
    """Rows alone, an operation, one that fails: the lock is had in it, and given away after it."""
    store = Store(state)
    seen: list[bool] = []

    def look(connection: object) -> None:
        seen.append(is_free(state, WRITER))

    def fail(connection: object) -> None:
        look(connection)
        raise ZeroDivisionError

    store.journal.write((row(1),), look)
    assert is_free(state, WRITER)
    with pytest.raises(ZeroDivisionError):
        store.journal.write((), fail)
    assert (is_free(state, WRITER), is_free(state, NEXT)) == (True, True)
    assert seen == [False, False]
    store.journal._turns.take = lambda: seen.append(True)  # type: ignore[method-assign]
    store.journal.write((row(2),))
    assert seen[2:] == [True], "a step alone is in a turn too"
    store.close()


FORKING = """
import os, signal, sys
from pathlib import Path
from perdure.engines.local import engine_at

engine = engine_at(Path(sys.argv[1]))
engine.store.journal._turns.take()
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
print("alone", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_a_forked_child_does_not_keep_the_turn_of_a_dead_parent(state: Path) -> None:
    """Its copies of the descriptors would, as long as it lives."""
    words = [sys.executable, "-c", FORKING, str(state)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "alone\n"
        assert process.wait() == -signal.SIGKILL
        assert is_free(state, WRITER)
