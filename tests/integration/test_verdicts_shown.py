"""What was known of a failure when it happened is what `show`, `dlq ls` and `dlq show` say of it, and their JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from provoking import answer

from conftest import Machine
from perdure import Retry, step, workflow
from perdure.cli import main

TWICE = Retry(attempts=2, delay=0, jitter=0)


def items(machine: Machine) -> None:
    @step(name="fetch", retry=TWICE)
    def fetch(number: int) -> int:
        if number == 1:
            raise answer(401)
        if number == 2:
            raise ConnectionError("refused")
        return number

    @workflow(name="flow")
    def flow() -> None:
        fetch.map(range(4))
        raise answer(402)

    with suppress(OSError):
        flow()


def asked(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_programs_are_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Kind, entry, confidence and rule, of the run, of each attempt, step and letter."""
    items(machine)
    shown = asked(capsys, "show", "last")
    assert (shown["verdict"]["kind"], shown["verdict"]["code"]) == ("permanent", "over-budget")
    verdicts = {one["inputs"][0]: one["verdict"] for one in shown["steps"]}
    assert (verdicts[0], verdicts[3]) == (None, None)
    assert (verdicts[1]["code"], verdicts[1]["status"]) == ("credential-expired", 401)
    assert verdicts[1]["rule"]
    assert verdicts[2]["kind"] == "transient"
    (refused,) = [one["failures"] for one in shown["steps"] if one["verdict"] == verdicts[1]]
    assert [one["verdict"]["confidence"] for one in refused] == ["certain"]
    listed = {one["inputs"]: one["verdict"] for one in asked(capsys, "dlq", "ls")["letters"]}
    assert listed == {"(1)": verdicts[1], "(2)": verdicts[2]}
    letter = asked(capsys, "dlq", "show", "1")
    assert letter["verdict"] == letter["attempts"][-1]["verdict"]
    assert letter["verdict"] in listed.values()


def test_people_are_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line or a column; what no rule knows is no more than transient."""
    items(machine)
    capsys.readouterr()
    assert main(["show", "last"]) == 0
    shown = capsys.readouterr().out
    assert "kind      permanent, over-budget (certain), by " in shown
    assert "HTTPError: HTTP Error 401: no  [credential-expired]" in shown
    assert main(["dlq", "ls"]) == 0
    headings, *rows = capsys.readouterr().out.splitlines()
    assert "KIND" in headings
    assert sum("credential-expired  HTTPError" in row for row in rows) == 1
    assert main(["dlq", "show", "1"]) == 0
    assert "\nkind      " in capsys.readouterr().out


def test_a_failure_that_was_recovered_from_is_no_entry(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """One 429 before a success is throttled, and no rate-limit-spiral."""
    answers = [answer(429), None]

    @step(name="throttled-once", retry=TWICE)
    def ask() -> int:
        error = answers.pop(0)
        if error is not None:
            raise error
        return 1

    @workflow(name="recovers")
    def flow() -> int:
        return ask()

    assert flow() == 1
    (one,) = asked(capsys, "show", "last")["steps"]
    assert [(each["verdict"]["kind"], each["verdict"]["code"]) for each in one["failures"]] == [("throttled", None)]
    assert main(["show", "last"]) == 0
    assert "[throttled]" in capsys.readouterr().out


def test_what_was_known_then_counts(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules that come later change nothing: the exception is gone, and so is what it was judged by."""
    items(machine)

    def assessed_again(*_: object) -> None:
        raise AssertionError("a failure is assessed once")

    monkeypatch.setattr("perdure.operations.stored_failures.assess_for", assessed_again)
    for command in (("show", "last"), ("dlq", "ls"), ("dlq", "show", "1"), ("why", "last"), ("diagnose", "last")):
        asked(capsys, *command)
