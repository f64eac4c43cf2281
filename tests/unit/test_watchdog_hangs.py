"""When the watchdog process reports a hang: the clock is the test's, the flight record a real one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import replace
from perdure.alerts.watchdog import client
from perdure.store.flight_record import locked_for_reporting
from perdure.store.flight_recorder import Recorder

FOLDER = Path(client.__file__).parent


class Watched:
    """A watchdog process that watches this one, without a pipe; what it would report is kept in `reports`."""

    def __init__(self, module: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 1000.0
        replace(monkeypatch, module.time, "monotonic", lambda: self.time)
        self.recorder = recorder
        self.process = module.WatchdogProcess(-1, -1, locked_for_reporting(recorder.path), os.getpid(), "", "")
        self.reports: list[tuple[str, bytes]] = []
        self.process.start_reporter = lambda kind, runs, details: self.reports.append((kind.decode(), details))

    def begin(self, stall: float, deadline: float = 0.0) -> None:
        self.process.handle(b'began 1 %.3f %.3f {"run":"nightly-1"}' % (stall, deadline))
        self.process.look()

    def passes(self, seconds: float) -> list[str]:
        """So much time passes; the kinds of the reports of that time."""
        before = len(self.reports)
        self.time += seconds
        self.process.look()
        return [kind for kind, _ in self.reports[before:]]

    def step(self, done: bool = True) -> None:
        slot = self.recorder.begin("nightly-1", "charge", b"k" * 16, 0, 1, 1.0)
        self.recorder.end(slot, done)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """The module as the watchdog process has it: it finds `exit_cause` beside it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "process", raising=False)
    import process  # type: ignore[import-not-found]

    recorder = Recorder(tmp_path / "flight", "7-abc")
    found = Watched(process, recorder, monkeypatch)
    yield found
    os.close(found.process.record)
    recorder.close()
    for name in ("process", "exit_cause"):
        sys.modules.pop(name, None)


def test_a_stall_is_reported_once_and_so_is_its_end(watched: Watched) -> None:
    """Not before the bound; not again while it lasts; and that steps finish again."""
    watched.begin(stall=10)
    assert watched.passes(9.9) == []
    assert watched.passes(0.2) == ["stall"]
    assert watched.passes(1000) == []
    watched.step()
    assert watched.passes(1) == ["moving"]
    assert watched.passes(10) == ["stall"]


def test_steps_and_progress_are_no_stall(watched: Watched) -> None:
    """A step that finishes and `perdure.progress`, however long the run takes."""
    watched.begin(stall=10)
    for _ in range(20):
        watched.step()
        assert watched.passes(9) == []
        watched.recorder.progress()
        assert watched.passes(9) == []


def test_a_failed_attempt_is_no_progress(watched: Watched) -> None:
    """A step that fails again and again is a stall, as the documentation says."""
    watched.begin(stall=10)
    watched.step(done=False)
    assert watched.passes(6) == []
    watched.step(done=False)
    assert watched.passes(6) == ["stall"]


def test_a_deadline_is_reported_once(watched: Watched) -> None:
    """With the time that the run has taken; an ended run is not reported."""
    watched.begin(stall=0, deadline=10)
    assert watched.passes(9) == []
    assert watched.passes(3) == ["deadline"]
    assert watched.reports[-1][1] == b'"seconds":12.000'
    assert watched.passes(100) == []
    watched.process.handle(b"ended 1")
    watched.begin(stall=5, deadline=10)
    watched.process.handle(b"ended 1")
    assert watched.passes(100) == []
