"""What an engine writes into the flight record: what is in flight, and nothing else."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from conftest import Machine
from perdure import Retry, step, workflow
from perdure.engines.events import AttemptEnded, AttemptStarted, Event
from perdure.engines.local import run_monitor
from perdure.store import flight_record

late = threading.Event()
threads: list[threading.Thread] = []
inside: list[list[flight_record.InFlight]] = []


@step(timeout="0.1s", retry=None)
def stuck(n: int) -> None:
    threads.append(threading.current_thread())
    late.wait(60)


@workflow
def leaving_threads_behind() -> int:
    return len(stuck.map(range(3), concurrency=3).dead)


class Watching:
    """An observer that only counts."""

    def __init__(self) -> None:
        self.began_ = 0
        self.ended_: list[str] = []

    def notify(self, event: Event) -> None:
        if isinstance(event, AttemptStarted):
            self.began_ += 1
        elif isinstance(event, AttemptEnded):
            self.ended_.append(type(event.error).__name__)


def flying(machine: Machine) -> list[flight_record.InFlight]:
    recorder = machine.engine.resources.monitor.recorder
    assert recorder is not None
    found = flight_record.read(recorder.path)
    assert found is not None
    return found.calls


def test_an_abandoned_attempt_is_over(machine: Machine) -> None:
    """Its thread may be stuck for ever: it is not in flight any more, it has ended once, its place is free."""
    late.clear()
    watching = Watching()
    machine.engine.observer = watching
    try:
        assert leaving_threads_behind() == 3
        assert flying(machine) == []
        assert (watching.began_, watching.ended_) == (3, ["StepTimeout"] * 3)
        recorder = machine.engine.resources.monitor.recorder
        assert recorder is not None
        free = len(recorder._free)
    finally:
        late.set()
    for thread in threads:  # each ends by itself when it comes back too late
        thread.join(60)
        assert not thread.is_alive()
    assert len(recorder._free) == free
    assert watching.ended_ == ["StepTimeout"] * 3


@step(retry=Retry(attempts=1))
def look() -> int:
    inside.append(flying(there[-1]))
    return 1


@workflow
def looking() -> int:
    return look()


there: list[Machine] = []


def test_a_process_that_begins_anew_records_anew(machine: Machine) -> None:
    """Its lock file was removed, so it goes by another name: a record under the old one would look dead."""
    there.append(machine)
    assert looking() == 1
    engine = machine.engine
    before = engine.store.holder.token
    for lock in (engine.store.path.parent / "state.db-locks").glob("*.lock"):
        lock.unlink()
    assert looking.with_options(id="again")() == 1
    recorder = engine.resources.monitor.recorder
    assert recorder is not None
    assert before != engine.store.holder.token == recorder.path.stem
    assert [each.name for each in flight_record.folder_of(engine.store.path).iterdir()] == [recorder.path.name]
    assert [[call.name for call in calls] for calls in inside] == [["look"], ["look"]]


def test_runs_that_begin_together_are_recorded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that begin while the first one makes the record: what is not in it is not known to have been in flight
    when the process dies, and its run is given up sooner."""
    real, second, found = run_monitor.Recorder, list[threading.Thread](), list[bool]()

    @step
    def looks(n: int) -> bool:
        return machine.engine.resources.monitor.recorder is not None

    @workflow
    def beside(n: int) -> bool:
        return looks(n)

    def slowly(*given: Any) -> Any:
        if not second:
            second.append(threading.Thread(target=lambda: found.append(beside(2))))
            second[0].start()
            second[0].join(0.3)  # it waits for this one, or it is over
        return real(*given)

    monkeypatch.setattr(run_monitor, "Recorder", slowly)
    assert beside(1)
    second[0].join(60)
    assert found == [True]
