"""Calls that wait, in the flight record: apart from attempts, and never in their way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.store import flight_record
from perdure.store.flight_record import CallWaits, Flight
from perdure.store.flight_recorder import Recorder, Slot, _cut

KEY = bytes(range(16))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "state.db-flight", "7-abc", "/home/me/nightly.py", 1000.0)
    yield recorder
    recorder.close()


def wait(recorder: Recorder, n: int = 0, reason: str = "its turn", label: str = "A-1") -> Slot:
    return recorder.wait("nightly-1", "charge", KEY, n, 3, 1234.5, 1240.0, reason, label)


def found(recorder: Recorder) -> Flight:
    flight = flight_record.read(recorder.path)
    assert flight is not None
    return flight


def test_a_call_that_waits_is_no_attempt(recorder: Recorder) -> None:
    """It is there from its beginning to its end with all that is known of it, but nothing that a death speaks against;
    its place is used again, and what was written there is not seen with who has it next."""
    slot = wait(recorder)
    assert found(recorder).waiting == [CallWaits("nightly-1", "charge", KEY, 0, 3, 1234.5, 1240.0, "its turn", "A-1")]
    assert found(recorder).calls == []
    recorder.waited(slot)
    assert found(recorder).waiting == []
    assert recorder.begin("nightly-1", "pay", KEY, 0, 1, 1.0) == slot
    assert found(recorder).calls == [flight_record.InFlight("nightly-1", "pay", KEY, 0, 1, 1.0)]
    recorder.end(slot)


def test_labels_and_progress_of_attempts(recorder: Recorder) -> None:
    """An attempt has its label, also after it has said how far it is; texts that are too long are cut off."""
    slot = recorder.begin("nightly-1", "charge", KEY, 0, 1, 1.0, "A-1")
    recorder.how_far(slot, 3, 10, "é" * 200)
    one = found(recorder).calls[0]
    assert (one.name, one.label, one.done, one.total) == ("charge", "A-1", 3, 10)
    assert one.note.startswith("ééé")
    assert one.note.endswith("...")
    recorder.end(slot)
    long = recorder.wait("r", "n" * 199, KEY, 0, 1, 1.0, 0.0, "\ud800" + "x" * 500, "label")
    assert found(recorder).waiting[0].label == "l"
    recorder.waited(long)


def test_a_process_that_ends_while_calls_wait_leaves_no_record(recorder: Recorder) -> None:
    """Nothing was in flight, so its end is no death that is to be reported."""
    wait(recorder)
    recorder.close()
    assert not recorder.path.exists()


def test_many_calls_that_wait_leave_room_for_attempts(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many they are not seen, and an attempt has a place all the same."""
    monkeypatch.setattr("perdure.store.flight_recorder.MOST_WAITING", 3)
    monkeypatch.setattr("perdure.store.flight_recorder.SLOTS", 4)
    slots = [wait(recorder, n) for n in range(5)]
    assert [slot is None for slot in slots] == [False] * 3 + [True] * 2
    running = recorder.begin("nightly-1", "charge", KEY, 9, 1, 1.0)
    assert running is not None
    assert (len(found(recorder).waiting), len(found(recorder).calls), found(recorder).more) == (3, 1, 0)
    for slot in slots:
        recorder.waited(slot)
    assert wait(recorder) is not None
    recorder.end(running)


def test_who_has_no_slot_says_nothing(recorder: Recorder) -> None:
    """There was no room for it, or the record is another process's by now: nothing is written, nothing fails."""
    recorder.how_far(None, 1, 2, "half")
    recorder.waited(None)
    slot = wait(recorder)
    before = recorder.path.read_bytes()
    recorder.close_in_child()
    recorder.how_far(slot, 1, 2, "half")
    recorder.waited(slot)
    recorder.end(slot)
    recorder.progress()
    assert recorder.path.read_bytes() == before


def test_a_text_is_cut_to_the_room_that_there_is() -> None:
    """With dots, where there is room for more than these; no letter is cut in two."""
    assert [_cut(b"abcdef", most) for most in (6, 5, 4, 3)] == [b"abcdef", b"ab...", b"a...", b"abc"]
    assert _cut("äöü".encode(), 3) == "ä".encode()
