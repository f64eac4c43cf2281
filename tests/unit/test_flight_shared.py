"""The flight recorder between threads and processes: nobody's slot is another's, and each death is reported once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_flight import KEY, begin, names

from conftest import replace
from perdure.core.execution.crash_loop import WIDTH
from perdure.store import flight_record
from perdure.store.flight_record import MORE_OF_CALL, RECORD, RUNNING, SLOT, SLOTS_AT, TAIL, WAITING
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


def test_no_look_at_a_record_and_no_mark_in_it_follows_a_link(tmp_path: Path) -> None:
    """Whoever can put one there would have a file of this user's read, or written to."""
    there = flight_record.stand_in(tmp_path / "a", "7-abc", 5, 1000.0)
    link = tmp_path / "link.rec"
    link.symlink_to(there)
    before = there.read_bytes()
    assert flight_record.read(there) is not None
    assert flight_record.read(link) is None
    assert flight_record.locked_for_reporting(link) == -1
    assert not flight_record.is_watched(link)
    with flight_record.reporting(link) as ours:
        assert not ours
    for mark in (flight_record.mark_reported, flight_record.mark_asked):
        with pytest.raises(OSError, match="symbolic link"):
            mark(link)
    assert there.read_bytes() == before


def test_one_has_the_right_to_report_a_death(tmp_path: Path) -> None:
    """As long as it has the record open; it is watched then. Nothing stays open of any look."""
    path = flight_record.stand_in(tmp_path, "7-abc", 5, 1000.0)
    opened = len(os.listdir("/dev/fd"))
    descriptor = flight_record.locked_for_reporting(path)
    assert descriptor >= 0
    assert flight_record.is_watched(path)
    assert flight_record.locked_for_reporting(path) == -1
    with flight_record.reporting(path) as ours:
        assert not ours
    os.close(descriptor)
    assert not flight_record.is_watched(path)
    for expected in (True, False):
        with flight_record.reporting(path) as ours:
            assert ours is expected
            assert flight_record.is_watched(path)
        flight_record.mark_reported(path)
    assert len(os.listdir("/dev/fd")) == opened
    for gone in (tmp_path / "gone.rec",):
        flight_record.mark_reported(gone)
        flight_record.mark_cause(gone, "oom")
        assert (flight_record.locked_for_reporting(gone), flight_record.is_watched(gone)) == (-1, False)
        assert not gone.exists()


@pytest.mark.parametrize(
    ("kind", "run", "name", "attempt", "there"),
    [
        (RUNNING, WIDTH, WIDTH, 1, True),
        (RUNNING, 1, 1, 1, True),
        (RUNNING, 0, 1, 1, False),
        (RUNNING, WIDTH + 1, 1, 1, False),
        (RUNNING, 1, WIDTH + 1, 1, False),
        (RUNNING, 1, 0, 1, False),
        (RUNNING, 1, 1, 0, False),
        (0, 1, 1, 1, False),
        (3, 1, 1, 1, False),
        (WAITING, 1, 0, 0, True),
        (WAITING, WIDTH + 1, 0, 0, False),
    ],
)
def test_a_slot_that_cannot_be_is_left_out(
    tmp_path: Path, kind: int, run: int, name: int, attempt: int, there: bool
) -> None:
    """By its lengths and what it says that it holds; an attempt has a step and a number."""
    path = flight_record.stand_in(tmp_path, "7-abc", 5, 1000.0)
    record = RECORD.pack(12.5, 3, attempt, run, name, KEY, b"r" * WIDTH, b"n" * WIDTH, kind)
    with path.open("ab") as file:
        file.write(record)
    found = flight_record.read(path)
    assert found is not None
    calls = [*found.calls, *found.waiting]
    assert len(calls) == there
    for call in calls:
        assert (call.run, call.name, call.key, call.n, call.attempt) == ("r" * run, "n" * name, KEY, 3, attempt)
    assert (found.seen, found.watched, found.reported, found.memory, found.more) == (1000.0, True, False, 0, 0)
    assert (found.pid, found.boot, found.script, found.cause) == (5, bytes(16), "", "")


def test_what_a_slot_says_besides(tmp_path: Path) -> None:
    """A label behind the name, how far an attempt is, and for what a call waits and until when; the oldest first."""
    path = flight_record.stand_in(tmp_path, "7-abc", 5, 1000.0)
    with path.open("ab") as file:
        for kind, since in ((RUNNING, 9.0), (WAITING, 8.0), (RUNNING, 7.0), (WAITING, 6.0)):
            record = RECORD.pack(since, 3, 2, 1, 4, KEY, b"r", b"nameone", kind)
            file.write(record[:MORE_OF_CALL] + TAIL.pack(3, 1.5, 2.5, "why \u00e4".encode()))
        file.write(record[: SLOT - 1])
    found = flight_record.read(path)
    assert found is not None
    assert found.calls == [
        flight_record.InFlight("r", "name", KEY, 3, 2, since, "one", 1.5, 2.5, "why \u00e4") for since in (7.0, 9.0)
    ]
    assert found.waiting == [
        flight_record.CallWaits("r", "name", KEY, 3, 2, since, 1.5, "why \u00e4", "one") for since in (6.0, 8.0)
    ]
    assert os.path.getsize(path) == SLOTS_AT + 5 * SLOT - 1


def test_what_a_process_says_of_its_end_is_taken_back(recorder: Recorder) -> None:
    """While it says so its death is not to be reported."""
    for cause in ("exit 3", ""):
        recorder.say(cause)
        found = flight_record.read(recorder.path)
        assert found is not None
        assert (found.cause, found.reported) == (cause, bool(cause))
    flight_record.mark_asked(recorder.path)
    found = flight_record.read(recorder.path)
    assert found is not None
    assert (found.cause, found.reported) == ("SIGTERM", True)


def test_the_start_of_the_machine_is_named_by_sixteen_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros where nobody says which it is."""
    assert len(flight_record.boot_id()) == 16
    for content in (b"no number", None):

        def read(path: Path, content: bytes | None = content) -> bytes:
            if content is None:
                raise FileNotFoundError
            return content

        monkeypatch.setattr(Path, "read_bytes", read)
        assert flight_record.boot_id() == bytes(16)


@pytest.mark.parametrize("take", ["of a watchdog process", "at the next start"])
def test_a_look_that_takes_long_takes_the_right_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, take: str
) -> None:
    """On a busy machine a look may last; a death would not be reported, or only by the start after the next."""
    import fcntl

    path = flight_record.stand_in(tmp_path, "7-abc", 5, 1000.0)
    look = [os.open(path, os.O_RDWR)]
    fcntl.flock(look[0], fcntl.LOCK_SH)
    assert not flight_record.is_watched(path)  # two looks see no holder in each other
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 20:
            os.close(look.pop())

    replace(monkeypatch, flight_record.time, "sleep", wait)
    if take == "at the next start":
        with flight_record.reporting(path) as ours:
            assert ours
    else:
        descriptor = flight_record.locked_for_reporting(path)
        assert descriptor >= 0
        os.close(descriptor)
    assert len(waits) == 20
