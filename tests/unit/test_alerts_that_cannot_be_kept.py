"""Alerts whose folder cannot be used: they are sent at once, the run goes on, and nothing false is said of its end."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from conftest import replace
from perdure import step, workflow
from perdure.alerts import open_incidents
from perdure.alerts.sender import folder_of
from perdure.alerts.unusable_state import alert_unusable_state
from perdure.alerts.watchdog.client import Watchdog
from perdure.config import settings
from perdure.core.execution.spec import spec_of
from perdure.errors import StateReadOnly

SINK = "tee"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    monkeypatch.setenv("PERDURE_ALERTS", f"exec:/usr/bin/env {SINK} -a {tmp_path / 'sent'}")
    return tmp_path / "state.db"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the watchdog process is sent of runs."""
    heard: list[str] = []
    replace(monkeypatch, Watchdog, "began", lambda self, *given, **more: heard.append("began"))
    replace(monkeypatch, Watchdog, "ended", lambda self, run: heard.append("ended"))
    replace(monkeypatch, Watchdog, "deliver", lambda self, targets: heard.append("deliver"))
    return heard


def test_an_end_that_cannot_be_alerted_is_no_crash(
    state: Path, known: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the watchdog process takes the end of the script for a death in the middle of the run."""

    @workflow
    def job() -> int:
        return 1

    def refuse(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    replace(monkeypatch, open_incidents, "is_open", refuse)
    assert job() == 1
    assert known == ["began", "ended"]
    assert "alerting the end of a run failed" in caplog.text


def test_a_folder_that_cannot_be_used_is_named_once(
    state: Path, known: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do; the failure is sent by the run itself, since nothing could be delivered later."""
    folder, access, opening = folder_of(state), os.access, os.open
    folder.mkdir()

    def closed(name: object) -> bool:
        return isinstance(name, str | os.PathLike) and Path(name).is_relative_to(folder)

    def refuse(name: str, *rest: int, **more: int) -> int:
        if closed(name):
            raise PermissionError(13, "Permission denied", str(name))
        return opening(name, *rest, **more)

    replace(monkeypatch, os, "access", lambda name, *rest, **more: not closed(name) and access(name, *rest, **more))
    replace(monkeypatch, os, "open", refuse)

    @step(retry=None)
    def fails() -> None:
        raise ValueError("no such account")

    @workflow
    def job() -> None:
        fails()

    with pytest.raises(ValueError, match="account"):
        job()
    said = [line for line in caplog.messages if "alerts are not kept" in line]
    assert len(said) == 1
    assert f"chmod 700 {folder}" in said[0]
    assert "failed, the run goes on" not in caplog.text
    assert known == ["began", "ended"]
    assert "ValueError: no such account" in (state.parent / "sent").read_text()


def test_the_folder_of_the_script_is_gone(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even the path of the state file is known: the error is named, and alerted."""

    @workflow
    def job() -> int:
        return 1

    monkeypatch.delenv("PERDURE_STATE")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tempfile.tempdir = None
    settings.forget_files()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    spec = spec_of(job)
    monkeypatch.setattr(spec, "file", str(tmp_path / "gone" / "job.py"))
    error = StateReadOnly("the working directory was removed", "change to a folder that is there")
    alert_unusable_state(spec, error)
    tempfile.tempdir = None
    assert "CRITICAL: job cannot use its state file" in (tmp_path / "sent").read_text()
    assert caplog.messages == []
