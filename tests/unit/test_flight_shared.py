"""The flight recorder between threads and processes: nobody's slot is another's, and each death is reported once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_flight import KEY, begin, names

from perdure.store import flight_record
from perdure.store.flight_recorder import Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "state.db-flight", "7-abc", "/home/me/nightly.py", 1000.0)
    yield recorder
    recorder.close()


def test_threads_share_it(recorder: Recorder) -> None:
    """No slot is given to two threads at a time, and none is lost."""
    both = threading.Barrier(8)
    clashes: list[object] = []
    held: set[int] = set()

    def work(number: int) -> None:
        both.wait()
        for n in range(500):
            slot = recorder.begin("run", f"step {number}", KEY, n, 1, 1.0)
            assert slot is not None
            if slot in held:
                clashes.append(slot)
            held.add(slot)
            held.discard(slot)
            recorder.end(slot)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
    assert names(recorder) == []
    assert len(recorder._free) <= 8


def test_a_forked_child_leaves_it_alone(recorder: Recorder) -> None:
    """The child shares the file; what it ends or begins does not show in the parent's file."""
    slot = begin(recorder)
    child = os.fork()
    if child == 0:
        recorder.close_in_child()
        recorder.end(slot)
        begin(recorder, "of the child")
        recorder.progress()
        recorder.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert names(recorder) == [("charge", 0)]


def test_one_tells(recorder: Recorder) -> None:
    """Of many processes that report a death at the same moment one may, and after it none."""
    begin(recorder)
    allowed: list[bool] = []
    together, done = threading.Barrier(6), threading.Barrier(6)

    def report() -> None:
        together.wait()
        with flight_record.reporting(recorder.path) as ours:
            allowed.append(ours)
            done.wait()  # all have asked before one lets go
            if ours:
                flight_record.mark_reported(recorder.path)

    threads = [threading.Thread(target=report) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(allowed) == [False] * 5 + [True]
    with flight_record.reporting(recorder.path) as ours:
        assert not ours
    found = flight_record.read(recorder.path)
    assert found is not None
    assert found.reported


def test_the_deaths_and_which_of_them_are_reported(tmp_path: Path) -> None:
    """Not of those whose process holds its lock."""
    import fcntl

    folder, locks = tmp_path / "flight", tmp_path / "locks"
    locks.mkdir()
    for token in ("dead", "alive", "reported"):
        begin(Recorder(folder, token))
    living = os.open(locks / "alive.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(living, fcntl.LOCK_EX)
    (locks / "dead.lock").touch()
    flight_record.mark_reported(folder / "reported.rec")
    found = {each.token: each.reported for each in flight_record.dead(folder, locks)}
    assert found == {"dead": False, "reported": True}
    assert flight_record.dead(tmp_path / "none", locks) == []
    os.close(living)


def test_a_stand_in_is_read_like_a_record(tmp_path: Path) -> None:
    """A process that left no record gets one, once, so that it can be marked as reported."""
    path = flight_record.stand_in(tmp_path / "flight", "7-gone", 7, 1000.0)
    flight_record.mark_reported(path)
    assert flight_record.stand_in(tmp_path / "flight", "7-gone", 7, 1000.0) == path
    found = flight_record.read(path)
    assert found is not None
    assert (found.pid, found.started, found.calls, found.reported) == (7, 1000.0, [], True)
