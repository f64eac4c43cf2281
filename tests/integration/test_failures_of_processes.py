"""What becomes of processes is named first by `perdure diagnose` and `why`; what looks alike is not named so."""

from __future__ import annotations

import json
import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest
from failing_scripts import LIVES, STUCK

from conftest import Scripts
from perdure.cli import main
from perdure.operations import diagnose, why_sentences


def asked(scripts: Scripts, capsys: pytest.CaptureFixture[str], command: str) -> Any:
    assert main([command, "last", "--json", "--state", str(scripts.folder / "state.db")]) == 0
    return json.loads(capsys.readouterr().out)


def live(scripts: Scripts, entry: str, which: str) -> None:
    _, text, lives, edit, harmless = LIVES[entry]
    for life in range(lives):
        change = edit if which == "fails" else harmless
        script = scripts.write(text.replace(*change) if change and life == lives - 1 else text)
        scripts.run(script, WHICH=which, PERDURE_STATE=str(scripts.folder / "state.db"))


@pytest.mark.parametrize("entry", LIVES)
def test_what_happens_to_processes_is_named_first(
    scripts: Scripts, entry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By both commands, and the records that show it are cited."""
    live(scripts, entry, "fails")
    first = asked(scripts, capsys, "diagnose")["findings"][0]
    assert (first["code"], bool(first["evidence"])) == (LIVES[entry][0], True)
    assert first["confidence"] in ("certain", "likely")
    assert asked(scripts, capsys, "why")["code"] == LIVES[entry][0]


@pytest.mark.parametrize("entry", LIVES)
def test_what_looks_alike_is_not_named_so(scripts: Scripts, entry: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that dies once, or comes further each time; an edit that fits; a step that was told to end."""
    live(scripts, entry, "alike")
    codes = [one["code"] for one in asked(scripts, capsys, "diagnose")["findings"]]
    assert LIVES[entry][0] not in codes
    assert asked(scripts, capsys, "why")["code"] != LIVES[entry][0]


@pytest.mark.parametrize("late", [True, False])
def test_a_run_that_waits_far_longer_than_the_runs_before_is_stuck(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """It is under way in a process of its own, for an hour by the clock of who asks; or no longer than the others."""
    process = scripts.start(scripts.write(STUCK), PERDURE_STATE=str(scripts.folder / "state.db"))
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    started = asked(scripts, capsys, "show")["run"]["started"]
    now = time.time() + 3600 if late else _seconds(started)
    for module in (diagnose, why_sentences):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now))
    found = asked(scripts, capsys, "diagnose")["findings"]
    code = asked(scripts, capsys, "why")["code"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert ([one["code"] for one in found][:1], code) == ((["stuck-wait"], "stuck-wait") if late else ([], None))
    if late:
        assert "approval, attempt 1" in found[0]["text"] or "in approval" in found[0]["text"]
        assert found[0]["commands"][1].startswith("perdure cancel ask-")


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()
