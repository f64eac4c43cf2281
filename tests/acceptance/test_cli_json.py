"""`--json`: each command answers with one object in one line; a program tells answers and errors apart by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Machine
from perdure import step, workflow
from perdure.cli import main


@step(name="cj-square")
def square(n: int) -> int:
    if n == 3:
        raise ValueError("not three")
    return n * n


@workflow(name="cj-main")
def many() -> int:
    return len(square.map(range(12), concurrency=2).results) + len(square.map(range(20, 23)).results)


LISTS = {
    ("ps",): ("runs", 1),
    ("ps", "--limit", "0"): ("runs", 1),
    ("ps", "--status", "failed"): ("runs", 0),
    ("show", "last"): ("steps", 15),
    ("show", "last", "--limit", "0"): ("steps", 15),
    ("show", "last", "--log"): ("lines", 0),
    ("dlq", "ls"): ("letters", 1),
    ("dlq", "reasons"): ("reasons", 1),
    ("deeds",): ("deeds", 0),
    ("workers",): ("workers", 0),
    ("queue", "ls"): ("queues", 0),
    ("schedule", "ls"): ("schedules", 0),
    ("breaker", "ls"): ("services", 0),
    ("alert", "pending"): ("alerts", 0),
}


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith("{")
    return json.loads(out)


def test_every_answer_is_one_object(machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is listed is in the field that is named for it, also if there is nothing; an error is the field `error` and
    nothing else, whatever the command. `show` says for people which maps the calls of a step were of."""
    many()
    capsys.readouterr()
    for command, (field, number) in LISTS.items():
        main([*command, "--json"])
        found = printed(capsys)
        assert len(found[field]) == number, command
        assert list(found) != ["error"], command
    for wrong in (["show", "nothing"], ["dlq", "show", "99"], ["breaker", "reset", "none"], ["ps", "--status", "odd"]):
        assert main([*wrong, "--json"]) != 0
        found = printed(capsys)
        assert list(found) == ["error"], wrong
        assert sorted(found["error"]) == ["code", "hint", "notes", "what"]
    assert main(["failures", "--json"]) == 0
    assert len(printed(capsys)["failures"]) > 10
    assert main(["skill", "install", str(tmp_path), "--json"]) == 0
    assert printed(capsys)["files"]
    assert main(["show", "last"]) == 0
    out = capsys.readouterr().out
    assert "map 1: 12 items, 2 at a time, in " in out
    assert "11 done, 1 dead letters" in out
    assert "map 2: 3 items" in out
