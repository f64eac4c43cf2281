"""The run's side of the watchdog: whatever fails about it, the run goes on."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

import pytest

from conftest import replace
from perdure.alerts.watchdog.client import LastException, Settings, Watchdog, describe_exception
from perdure.core.redaction.secret import Secret
from perdure.errors import Drift, StopRun
from perdure.store import flight_record
from perdure.store.flight_recorder import Recorder


@pytest.fixture
def watchdog(tmp_path: Path) -> Watchdog:
    return Watchdog(Settings(tmp_path / "state.db"), None)


def spawned(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    started: list[object] = []

    def refuse(*words: object, **_: object) -> int:
        started.append(words)
        raise OSError("no process can be made")

    replace(monkeypatch, os, "posix_spawn", refuse)
    return started


def test_a_watchdog_process_that_cannot_start_is_logged_once(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On the logger, once; every method goes on as if nothing had happened, and no descriptor is left open."""
    started = spawned(monkeypatch)
    gc.freeze()  # what earlier tests have left is not closed meanwhile
    before = len(os.listdir("/dev/fd"))
    with caplog.at_level(logging.WARNING, "perdure"):
        for n in range(3):
            watchdog.began(f"run-{n}", "nightly", ("exec:/bin/true",))
        watchdog.stopped("run-0", SystemExit(3))
        watchdog.ended("run-1")
        watchdog.deliver(("exec:/bin/true",))
        watchdog.progress()
        watchdog.close()
        watchdog.close_in_child()
    assert len(started) == 1
    assert [record.message for record in caplog.records] == [
        "the watchdog process cannot be used, the run goes on unwatched: no process can be made"
    ]
    assert len(os.listdir("/dev/fd")) == before


def test_a_death_is_the_watchdogs_to_report_before_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks while the watchdog process starts does not say that none has watched; without one, anybody may."""
    recorder = Recorder(tmp_path / "flight", "7-abc")
    watched: list[bool] = []

    def refuse(*_: object, **__: object) -> int:
        watched.append(flight_record.is_watched(recorder.path))
        raise OSError("no process can be made")

    replace(monkeypatch, os, "posix_spawn", refuse)
    Watchdog(Settings(tmp_path / "state.db"), recorder).began("run", "nightly", ("exec:/bin/true",))
    assert watched == [True]
    assert not flight_record.is_watched(recorder.path)
    recorder.close()


def test_a_run_without_targets_needs_no_watchdog_process(watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without targets starts nothing."""
    started = spawned(monkeypatch)
    watchdog.began("run", "nightly", ())
    watchdog.ended("run")
    assert started == []


def test_no_interpreter_is_said(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that Python is embedded in has none to start."""
    monkeypatch.setattr(sys, "executable", "")
    with caplog.at_level(logging.WARNING, "perdure"):
        watchdog.began("run", "nightly", ("exec:/bin/true",))
    assert "no watchdog process" in caplog.text


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SystemExit(3), LastException("SystemExit", "", 3)),
        (SystemExit(), LastException("SystemExit", "", 0)),
        (SystemExit("no disk"), LastException("SystemExit", "no disk", 1)),
        (KeyboardInterrupt(), LastException("KeyboardInterrupt", "")),
        (ValueError("a\nb"), LastException("ValueError", "a\nb")),
        (ValueError("\ud800"), LastException("ValueError", "\\ud800")),
        (Mute(), LastException("Mute", "")),
        (StopRun(Drift("changed")), LastException("Drift", "changed", "code-drift")),
        (Drift("changed", "change it back"), LastException("Drift", "changed", "code-drift", "change it back")),
    ],
    ids=repr,
)
def test_how_it_was_stopped(error: BaseException, expected: LastException) -> None:
    """As plain data; an exception that cannot say anything is known by its class."""
    assert describe_exception(error) == expected


@pytest.mark.parametrize("length", [0, 590, 600, 5000])
@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, ValueError, Drift])
def test_the_value_of_a_secret_is_redacted(kind: type[BaseException], length: int) -> None:
    """Wherever it stands in the text, also where the text is cut; no part of it is left."""
    key = Secret("plain words that no rule takes for a credential")
    text = describe_exception(kind("." * length + key.reveal() + ".")).text
    assert text.startswith("." * min(length, 590))
    assert "plain" not in text
    assert "*" in text or length > 590
    assert "plain" not in describe_exception(Drift("changed", "." * length + key.reveal())).hint
