"""Crash loops: what is counted against a call, and what is forgotten again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Machine
from perdure import workflow
from perdure.api.step import step
from perdure.core.execution.run_effects import Start, Taken
from perdure.core.execution.spec import Call
from perdure.engines.local import engine
from perdure.errors import DiskFull, StopRun
from perdure.store import crashes, deaths, flight_record
from perdure.store.flight_recorder import Recorder
from perdure.store.liveness import locks_of
from perdure.store.runs import Store

KEY = b"k" * 16


class Fate:
    """Processes that come, take a run, and die."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.store = Store(state)
        self.rid = 0

    def live(self, *, collects: bool = True) -> Recorder:
        """A process begins: it collects what others left, and takes the run."""
        self.store = Store(self.state)
        if collects:
            crashes.collect(self.store)
        path = str(self.state.with_name("nightly.py"))
        start = Start("nightly.py", path, "nightly", KEY, b"", "nightly-1", id="nightly-1", named=True)
        taken = self.store.journal.write((), self.store.begin(start, 1.0))
        assert isinstance(taken, Taken)
        self.rid = taken.run.rid
        return Recorder(flight_record.folder_of(self.state), self.store.holder.token, path, 1.0)

    def die(self, recorder: Recorder, cause: str = "SIGKILL") -> None:
        """It dies with what it had in flight; a companion may have said how."""
        with recorder.path.open("r+b") as file:
            file.seek(flight_record.CAUSE)
            file.write(cause.encode())
        recorder.close_in_child()
        self.store.holder.close_in_child()  # the lock is free, its file stays
        self.store.close()

    def counted(self) -> dict[tuple[str, bytes, int], int]:
        self.store = Store(self.state)
        crashes.collect(self.store)
        found = crashes.crashes_of(self.store, self.rid)
        self.store.close()
        return {call: len(told) for call, told in found.items()}


@pytest.fixture
def fate(tmp_path: Path) -> Iterator[Fate]:
    fate = Fate(tmp_path / "state.db")
    yield fate
    engine.close_all()


def crash(fate: Fate, *names: str, cause: str = "SIGKILL") -> None:
    recorder = fate.live()
    for name in names:
        recorder.begin("nightly-1", name, KEY, 0, 1, 2.0)
    fate.die(recorder, cause)


def test_each_crash_counts_once(fate: Fate) -> None:
    """However often and by however many what was left behind is collected."""
    crash(fate, "charge", "other")
    for _ in range(3):
        assert fate.counted() == {("charge", KEY, 0): 1, ("other", KEY, 0): 1}
    crash(fate, "charge")
    assert fate.counted() == {("charge", KEY, 0): 2, ("other", KEY, 0): 1}
    crash(fate, "charge")
    assert fate.counted()["charge", KEY, 0] == 3


def test_who_takes_the_run_counts_its_death(fate: Fate) -> None:
    """Also if nobody has collected anything since: the process that takes it had looked before that death."""
    for _ in range(2):
        recorder = fate.live(collects=False)
        recorder.begin("nightly-1", "charge", KEY, 0, 1, 2.0)
        fate.die(recorder)
    assert fate.counted() == {("charge", KEY, 0): 2}
    fate.store = Store(fate.state)
    assert crashes.deaths_in_a_row(fate.store, fate.rid) == 2
    fate.store.close()


def test_a_call_that_ends_is_cleared(fate: Fate) -> None:
    """In a row: what has come to an end in between, well or badly, begins anew; and it is not counted a second time."""
    crash(fate, "charge")
    fate.counted()
    recorder = fate.live()

    @step(name="charge")
    def charge() -> None: ...

    call = Call(charge._spec, (), {}, b"", KEY)
    fate.store.journal.write((), crashes.forget(fate.rid, call))
    fate.die(recorder)
    assert fate.counted() == {}
    crash(fate, "charge")
    assert fate.counted() == {("charge", KEY, 0): 1}


@pytest.mark.parametrize("cause", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_who_was_asked_to_end_did_not_crash(fate: Fate, cause: str) -> None:
    """A deploy that stops the process in the middle of a long step does not speak against the step."""
    crash(fate, "charge", cause=cause)
    assert fate.counted() == {}


def test_records_are_cleared_away(fate: Fate) -> None:
    """A record is there as long as the run is as the crash left it, and gone when the run has been taken on."""
    crash(fate, "charge")
    (path,) = flight_record.folder_of(fate.state).iterdir()
    flight_record.mark_reported(path)
    fate.counted()
    assert path.exists()
    recorder = fate.live()
    crashes.collect(fate.store)
    assert [each.name for each in flight_record.folder_of(fate.state).iterdir()] == [recorder.path.name]
    recorder.close()
    fate.store.close()
    assert os.listdir(flight_record.folder_of(fate.state)) == []


@pytest.mark.parametrize("reported", [False, True])
def test_a_record_stays_while_its_death_is_being_reported(fate: Fate, reported: bool) -> None:
    """By the watchdog process that has its lock; also if the run has been gone on with. One that was reported goes."""
    crash(fate, "charge")
    (path,) = flight_record.folder_of(fate.state).iterdir()
    if reported:
        flight_record.mark_reported(path)
    with flight_record.reporting(path) as ours:
        assert ours is not reported
        recorder = fate.live()
        crashes.collect(fate.store)
        assert path.exists() is not reported
    crashes.collect(fate.store)
    assert not path.exists()
    recorder.close()
    fate.store.close()


@pytest.mark.parametrize(("cause", "watched"), [("", False), ("SIGKILL", False), ("SIGKILL", True)])
def test_only_a_watchdog_that_is_about_to_say_the_cause_is_waited_for(
    fate: Fate, monkeypatch: pytest.MonkeyPatch, cause: str, watched: bool
) -> None:
    """What is known needs no waiting, and nobody says what no process watches."""
    crash(fate, "charge", cause=cause)
    monkeypatch.setattr(flight_record, "is_watched", lambda path: watched)
    (one,) = flight_record.dead(flight_record.folder_of(fate.state), locks_of(fate.state))
    monkeypatch.setattr(flight_record, "read", lambda path: pytest.fail("it was waited, and looked again"))
    assert crashes.settled(one) == one


def test_what_was_left_is_known(fate: Fate) -> None:
    """The runs of dead processes, whether or not they left a record."""
    recorder = fate.live()
    assert crashes.left(fate.store) == []
    fate.die(recorder)
    recorder.path.unlink()
    store = Store(fate.state)
    (found,) = crashes.left(store)
    assert (found.run, found.workflow, found.script, found.pid) == ("nightly-1", "nightly", "nightly.py", os.getpid())
    store.close()


def test_deaths_between_calls_count_until_the_run_has_a_new_record(fate: Fate) -> None:
    """A line each, with its moment and its cause; a record that the run has saved since makes them past."""
    for _ in range(2):
        crash(fate)
        fate.counted()
    store = Store(fate.state)
    lines = crashes.deaths_of(store, fate.rid)
    assert len(lines) == 2
    assert all(line.text.startswith("its process died at ") and line.text.endswith(" UTC (SIGKILL)") for line in lines)
    assert crashes.list_of(store, fate.rid) == []
    store.close()


def test_a_process_that_cannot_write_why_it_ends_says_so_beside_the_file(machine: Machine) -> None:
    """It is not reported as killed then, and speaks against no step; unless the process goes on after all."""
    full = [True]

    @workflow
    def fills() -> None:
        if full:
            raise StopRun(DiskFull("no space is left"))

    with pytest.raises(DiskFull):
        fills()
    recorder = machine.engine.resources.monitor.recorder
    assert recorder is not None
    machine.boot()
    found = flight_record.read(recorder.path)
    assert found is not None
    assert (found.cause, found.reported) == ("stopped disk-full", True)
    assert deaths.is_asked(found.cause)
    with pytest.raises(DiskFull):
        fills()
    recorder = machine.engine.resources.monitor.recorder
    assert recorder is not None
    full.clear()
    fills()
    found = flight_record.read(recorder.path)
    assert found is not None
    assert (found.cause, found.reported) == ("", False)
    machine.boot()
    assert not recorder.path.exists()
