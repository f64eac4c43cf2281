"""Who waits for something in a state file is woken, whatever becomes of the FIFOs, and misses nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from perdure.store import bell as bells
from perdure.store.bell import SUFFIX, Bell, ring
from perdure.store.connection import open_connection, run_script
from waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")

ENDLESS = 1e6
"""Seconds: who waits so long for what does not come is found by the limit of the whole test."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    connection = apsw.Connection(str(path))
    run_script(connection, "PRAGMA journal_mode = WAL; CREATE TABLE t (x)")
    connection.close()
    return path


@pytest.fixture
def hung(state: Path) -> Iterator[Callable[[float], Bell]]:
    """Makes the bell of one more process, which looks at the file every so many seconds."""
    made: list[Bell] = []

    def process(every: float) -> Bell:
        made.append(Bell(state, every=every))
        return made[-1]

    yield process
    for bell in made:
        bell.close()


def fifos(state: Path) -> list[Path]:
    return sorted(state.with_name(state.name + "-locks").glob("*" + SUFFIX))


def in_another_process(code: str, state: Path) -> None:
    subprocess.run([sys.executable, "-c", code, str(state)], check=True)


RING = "import sys; from pathlib import Path; from perdure.store.bell import ring; ring(Path(sys.argv[1]))"


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_another_process_wakes_who_waits(state: Path, hung: Callable[[float], Bell], kind: str):
    """The FIFO alone wakes a thread and a task: the file is not looked at here."""
    bell = hung(ENDLESS)
    with bell.listen() as ear:
        ringer = threading.Thread(target=in_another_process, args=(RING, state))
        ringer.start()
        assert ear.wait(ENDLESS) if kind == "thread" else asyncio.run(ear.await_ring(ENDLESS))
        ringer.join()


def test_one_ring_wakes_once(state: Path, hung: Callable[[float], Bell]) -> None:
    """What was rung is taken out of the FIFO before anybody wakes: nobody looks at the file over and over for it."""
    with hung(ENDLESS).listen() as ear:
        (name,) = fifos(state)
        fifo = os.open(name, os.O_RDWR | os.O_NONBLOCK)
        os.write(fifo, b"\0")
        assert ear.wait(ENDLESS)
        with pytest.raises(BlockingIOError):
            os.read(fifo, 1)
        os.close(fifo)


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_without_its_fifo_a_change_of_the_file_wakes_it(state: Path, hung: Callable[[float], Bell], kind: str):
    """Every bell is removed, nobody rings; another connection writes, and who waits hears of it."""
    bell = hung(0.01)
    with bell.listen() as ear:
        (fifo,) = fifos(state)
        fifo.unlink()
        while ear.wait(0):  # what the file looked like before
            pass
        writer = open_connection(state, "OFF")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.close()
        assert ear.wait(ENDLESS) if kind == "thread" else asyncio.run(ear.await_ring(ENDLESS))


def test_a_file_that_cannot_be_asked_counts_as_changed(state: Path, hung: Callable[[float], Bell]):
    """Who cannot see whether there is something new looks: nobody sleeps through a fault of the file."""
    with hung(0.01).listen() as ear:
        state.unlink()
        assert ear.wait(ENDLESS)


def test_what_rings_before_the_wait_is_not_missed(state: Path, hung: Callable[[float], Bell]):
    """Looking comes between listening and waiting; what happens meanwhile ends the wait at once, once."""
    bell = hung(ENDLESS)
    with bell.listen() as ear, bell.listen() as other:
        bell.ring_here()
        bell.ring_here()
        assert ear.wait(ENDLESS)
        assert not ear.wait(0)
        assert asyncio.run(other.await_ring(ENDLESS))
        assert not asyncio.run(other.await_ring(0))


def test_who_rings_wakes_its_own_process_without_a_fifo(
    state: Path, hung: Callable[[float], Bell], monkeypatch: pytest.MonkeyPatch
):
    """Where the system makes no FIFO, threads of one process still wake each other."""
    monkeypatch.delattr(os, "mkfifo")
    with hung(ENDLESS).listen() as ear:
        assert not fifos(state)
        ring(state)
        assert ear.wait(ENDLESS)
        bells_thread = next(one for one in threading.enumerate() if one.name == "perdure-bell")
    assert bells_thread.daemon


def test_the_fifo_of_a_dead_process_is_removed_by_who_rings(state: Path, hung: Callable[[float], Bell]):
    """A killed process leaves its FIFO behind: the next ring removes it, and never that of a living one."""
    in_another_process(
        "import os, sys; from pathlib import Path; from perdure.store.bell import Bell\n"
        "Bell(Path(sys.argv[1])).listen(); os._exit(0)",
        state,
    )
    with hung(ENDLESS).listen() as ear:
        assert len(fifos(state)) == 2
        ring(state)
        assert ear.wait(ENDLESS)
        assert len(fifos(state)) == 1


def test_its_thread_ends_when_nobody_listens(state: Path, hung: Callable[[float], Bell]):
    """A bell costs a thread only while somebody waits, and is there again for the next one."""
    bell = hung(0.01)
    bell.listen().close()
    until(lambda: bell._thread is None, "the end of its thread")
    with bell.listen() as ear:
        ring(state)
        assert ear.wait(ENDLESS)


def test_closing_wakes_who_waits_and_removes_the_fifo(state: Path, hung: Callable[[float], Bell]):
    """Nobody sleeps on beside a file that was closed, and nothing is left beside it."""
    bell = hung(ENDLESS)
    ear = bell.listen()
    bell.close()
    assert ear.wait(ENDLESS)
    assert fifos(state) == []


def test_nothing_stays_open_of_a_bell_that_nobody_listens_to(state: Path, hung: Callable[[float], Bell]) -> None:
    """Its thread has ended before: who closes it closes the FIFO."""
    before = len(os.listdir("/dev/fd"))
    bell = hung(0.01)
    bell.listen().close()
    until(lambda: bell._thread is None, "the end of its thread")
    bell.close()
    assert len(os.listdir("/dev/fd")) == before


def test_a_bell_that_is_hung_up_at_the_same_moment_is_found(state: Path) -> None:
    """The folder's time says nothing of what was done to it so lately: it is read again."""
    folder = state.with_name(state.name + "-locks")
    folder.mkdir()
    now = time.time_ns() + 3_600_000_000_000
    for number in range(2):
        os.mkfifo(folder / f"{number}{SUFFIX}")
        os.utime(folder, ns=(now, now))
        assert len(bells._hung_up(state, SUFFIX)) == number + 1
