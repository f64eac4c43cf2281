"""The flight recorder: what it says of a process that died, whatever the process was in the middle of."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import replace
from perdure.core.execution.crash_loop import WIDTH
from perdure.store import flight_record, flight_recorder
from perdure.store.flight_recorder import Recorder, Slot

KEY = bytes(range(16))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "state.db-flight", "7-abc", "/home/me/nightly.py", 1000.0)
    yield recorder
    recorder.close()


def begin(recorder: Recorder, name: str = "charge", n: int = 0, run: str = "nightly-1") -> Slot:
    return recorder.begin(run, name, KEY, n, 2, 1234.5)


def names(recorder: Recorder) -> list[tuple[str, int]]:
    found = flight_record.read(recorder.path)
    assert found is not None
    return sorted((call.name, call.n) for call in found.calls)


def test_what_is_in_flight_is_read(recorder: Recorder) -> None:
    """An attempt is there from its beginning to its end, with all that identifies it; and so is who made the file."""
    slot = begin(recorder)
    found = flight_record.read(recorder.path)
    assert found is not None
    assert (found.token, found.pid, found.script, found.started) == (
        "7-abc",
        os.getpid(),
        "/home/me/nightly.py",
        1000.0,
    )
    assert found.boot == flight_record.boot_id()
    assert (found.reported, found.watched, found.more, found.cause) == (False, False, 0, "")
    assert found.memory > 1_000_000
    assert found.calls == [flight_record.InFlight("nightly-1", "charge", KEY, 0, 2, 1234.5)]
    recorder.end(slot)
    assert names(recorder) == []


def test_no_other_user_may_read_it(tmp_path: Path) -> None:
    """The file is 0600 and its folder 0700, whatever the umask."""
    before = os.umask(0)
    try:
        recorder = Recorder(tmp_path / "flight", "7-abc")
    finally:
        os.umask(before)
    assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(recorder.path.parent.stat().st_mode) == 0o700
    recorder.close()


def test_a_torn_slot_is_left_out(recorder: Recorder) -> None:
    """A slot without its last byte does not count, whatever its other bytes say."""
    begin(recorder, n=1)
    begin(recorder, n=2)
    data = bytearray(recorder.path.read_bytes())
    places = [
        at for at in range(flight_record.SLOTS_AT, len(data), flight_record.SLOT) if data[at + flight_record.VALID]
    ]
    os.truncate(recorder.path, len(data))
    with recorder.path.open("r+b") as file:
        file.seek(places[0] + flight_record.VALID)
        file.write(b"\0")
    assert len(names(recorder)) == 1


def test_no_content_whatever_makes_a_reader_fail(tmp_path: Path, recorder: Recorder) -> None:
    """Flipped, cut or foreign: a reader gets what can be understood, or nothing."""
    for n in range(5):
        begin(recorder, n=n)
    good = recorder.path.read_bytes()
    chance = random.Random(1)
    path = tmp_path / "damaged.rec"
    for _ in range(500):
        data = bytearray(good[: chance.randrange(len(good))]) if chance.random() < 0.3 else bytearray(good)
        for _ in range(chance.randrange(40)):
            if data:
                data[chance.randrange(min(len(data), 4096))] = chance.randrange(256)
        path.write_bytes(data)
        flight_record.read(path)
    path.write_bytes(b"")
    assert flight_record.read(path) is None
    assert flight_record.read(tmp_path / "missing.rec") is None


def test_long_names_stay_apart(recorder: Recorder) -> None:
    """Names that do not fit are cut such that two with the same beginning are still two; odd ones do no harm."""
    begin(recorder, "x" * WIDTH)
    begin(recorder, "x" * WIDTH + "a")
    begin(recorder, "x" * WIDTH + "b")
    begin(recorder, "\N{SNOWMAN}" * 300)
    recorder.end(begin(recorder, "\ud800"))
    found = [name for name, _ in names(recorder)]
    assert len(set(found)) == 4
    assert all(len(name.encode()) <= WIDTH for name in found)
    assert "x" * WIDTH in found


def test_many_at_a_time(recorder: Recorder) -> None:
    """The file grows with the attempts; what is beyond its bound is counted."""
    bound = flight_record.SLOTS
    slots = [begin(recorder, n=n) for n in range(bound + 3)]
    found = flight_record.read(recorder.path)
    assert found is not None
    assert len(found.calls) == bound
    assert found.more == 3
    for slot in slots:
        recorder.end(slot)
    found = flight_record.read(recorder.path)
    assert found is not None
    assert (found.calls, found.more) == ([], 0)


def test_a_full_disk_does_no_harm(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot grow says that there are more; the run does not notice."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    begin(recorder)
    replace(monkeypatch, flight_recorder, "write_at", full)
    slots = [begin(recorder, n=n) for n in range(200)]
    found = flight_record.read(recorder.path)
    assert found is not None
    assert slots == [None] * 200
    assert len(found.calls) == 1
    for slot in slots:
        recorder.end(slot)


def test_a_record_that_somebody_else_cuts_short_does_not_end_the_process(recorder: Recorder) -> None:
    """Under a mapping that is a SIGBUS. What is written afterwards is there, or the record says nothing at all."""
    slots = [begin(recorder, n=n) for n in range(20)]
    child = os.fork()
    if child == 0:
        for size in (0, 100, 1500):
            os.truncate(recorder.path, size)
            for slot in slots:
                recorder.end(slot)
            slots = [begin(recorder, n=n) for n in range(20)]
            recorder.progress()
            flight_record.read(recorder.path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_record_is_small(recorder: Recorder) -> None:
    """It grows with what is in flight at a time, not with what was: thousands of processes may leave theirs."""
    for n in range(1000):
        recorder.end(begin(recorder, n=n))
    begin(recorder)
    assert recorder.path.stat().st_size == flight_record.SLOTS_AT + flight_record.SLOT


def test_a_clean_end_leaves_nothing(tmp_path: Path) -> None:
    """Closed with nothing in flight the file is gone; closed in the middle of a step it stays."""
    for flying in (False, True):
        recorder = Recorder(tmp_path / "flight", f"7-{flying}")
        slot = begin(recorder)
        if not flying:
            recorder.end(slot)
        recorder.close()
        recorder.close()
        assert recorder.path.exists() == flying


def test_progress_moves(recorder: Recorder) -> None:
    """A step that finishes is progress, and so is what says that it is; an attempt that fails is none."""

    def counter() -> bytes:
        return recorder.path.read_bytes()[flight_record.PROGRESS : flight_record.PROGRESS + 8]

    seen = [counter()]
    recorder.end(begin(recorder), done=False)
    assert counter() == seen[-1]
    recorder.end(begin(recorder))
    seen.append(counter())
    recorder.progress()
    seen.append(counter())
    assert len(set(seen)) == 3


def test_the_watchdog_process_knows_the_offsets() -> None:
    """It imports nothing of ours, so they are written a second time."""
    import ast

    source = Path(flight_record.__file__).parents[1] / "alerts" / "watchdog" / "process.py"
    (values,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("(PROGRESS")
    ]
    assert values == (
        flight_record.PROGRESS,
        flight_record.MEMORY,
        flight_record.CAUSE,
        flight_record.HEADER.size - flight_record.CAUSE,
    )
