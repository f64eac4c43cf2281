"""What a person types wrong is theirs: no command says of a healthy state file that it is damaged."""

from __future__ import annotations

import pytest

from conftest import Machine
from perdure import step, workflow
from perdure.cli import main

HUGE = "99999999999999999999"


@pytest.fixture
def used(machine: Machine) -> Machine:
    """With one run in its state file."""

    @step
    def work() -> int:
        return 1

    @workflow(name="plain")
    def flow() -> int:
        return work()

    flow()
    return machine


@pytest.mark.parametrize(
    "command",
    [
        f"deeds --limit {HUGE}",
        f"ps --limit {HUGE}",
        f"dlq show {HUGE}",
        f"dlq redrive {HUGE}",
        f"dlq drop {HUGE} --yes",
        f"prune --older {HUGE}d",
        "dlq export -o .",
        *(f"{each} \udcff" for each in ("show", "why", "cancel", "resume", "get last", "ps --text", "ps --workflow")),
        *(f"{each} \udcff" for each in ("dlq ls --step", "dlq ls --run", "schedule pause", "breaker isolate")),
    ],
)
def test_an_argument_out_of_range(used: Machine, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error is of the command, and the advice is about what was typed."""
    assert main(command.split(" ")) == 2
    said = capsys.readouterr().err
    assert "error [bad-option]" in said or "error [usage]" in said
    assert "set-aside" not in said
    assert f'did you mean "{HUGE}' not in said
