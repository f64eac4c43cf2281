"""`perdure queue`, `ps` and `why`: what stands in queues, what keeps it there, and how to change that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Queue, workflow
from perdure.cli import main
from perdure.engines import declared_queues
from perdure.engines.local import engine


@workflow
def letter_in_queue(address: str) -> str:
    """What stands in queues here."""
    return address


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state file of the test's own, with three runs in a queue that is full, and one that is delayed."""
    path = tmp_path / "state.db"
    monkeypatch.setenv("PERDURE_STATE", str(path))
    before = dict(declared_queues.queues)
    Queue("mail", concurrency=5, rate="10/min")
    queued = letter_in_queue.with_options(queue="mail")
    for each in "ab":
        queued.with_options(id=each).enqueue(each)
    queued.with_options(id="late", delay="1h").enqueue("late")
    engine.close_all()
    yield path
    declared_queues.queues.clear()
    declared_queues.queues.update(before)
    engine.close_all()


def said(capsys: pytest.CaptureFixture[str], *command: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(command)) == code
    return capsys.readouterr().out


def shown(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    return json.loads(said(capsys, *command, "--json"))


def test_queues_are_listed_paused_resumed_and_drained(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in them, and their limits; what is drained is cancelled, and a wrong name is an error."""
    mail = {"name": "mail", "waiting": 2, "delayed": 1, "executing": 0, "concurrency": 5, "per_key": None}
    assert shown(capsys, "queue", "ls")["queues"] == [
        {**mail, "rate": "10 in 1 min", "paused": False, "damaged": False}
    ]
    assert "0 of 5" in said(capsys, "queue", "ls")
    assert said(capsys, "queue", "pause", "mail") == "queue mail is paused\n"
    assert said(capsys, "queue", "pause", "mail") == "queue mail is paused, as it was\n"
    assert shown(capsys, "queue", "ls")["queues"][0]["paused"]
    assert shown(capsys, "queue", "resume", "mail") == {"name": "mail", "state": "open", "changed": True}
    assert said(capsys, "queue", "drain", "mail") == "3 runs of queue mail cancelled\n"
    assert {run["status"] for run in shown(capsys, "ps")["runs"]} == {"cancelled"}
    assert said(capsys, "queue", "pause", "default") == "queue default is paused\n"  # before a run stands in it
    assert main(["queue", "pause", "male"]) == 2
    assert "name one of: default, mail" in capsys.readouterr().err


def test_ps_and_why_say_what_holds_a_queued_run(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its place, its time, or that the queue is paused, with the command that lets it begin."""
    table = said(capsys, "ps")
    assert "queue mail, 1st" in table
    assert "queue mail, 2nd" in table
    assert "queue mail, not before 20" in table
    assert "no worker runs on this state file" in said(capsys, "why", "b")
    said(capsys, "queue", "pause", "mail")
    why = shown(capsys, "why", "b")
    assert why["reasons"] == ["it stands in a queue, and has not begun: queue mail, 2nd; paused"]
    assert why["ways"][0]["command"] == "perdure queue resume mail"
    assert main(["cancel", "late"]) == 0
    assert [run["id"] for run in shown(capsys, "ps")["runs"] if run["status"] == "cancelled"] == ["late"]
