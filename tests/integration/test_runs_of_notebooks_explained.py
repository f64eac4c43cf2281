"""No command resumes a run of a notebook: `why` and `diagnose` say what does, and offer none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import Scripts
from perdure.cli import main

CELL = """
import os
from perdure import step, workflow

@step(retry=None)
def load(n: int) -> int:
    return n

@step(retry=None)
def send(n: int) -> int:
    if os.environ["HOW"] == "interrupted":
        raise KeyboardInterrupt
    raise RuntimeError("HTTP Error 401: Unauthorized")

@workflow
def report() -> int:
    return send(load(1))

report()
"""

KERNEL = "exec(compile(open('cell').read(), '/tmp/ipykernel_7/2.py', 'exec'), {'__name__': '__main__'})"


@pytest.mark.parametrize("how", ["failed", "interrupted"])
def test_it_goes_on_when_the_cell_is_run_again(scripts: Scripts, capsys: pytest.CaptureFixture[str], how: str) -> None:
    """As its error is named as any other's, and its other commands are those of any run."""
    kernel = scripts.write(KERNEL, "kernel.py")
    scripts.write(CELL, "cell")
    state = str(scripts.folder / "state.db")
    assert scripts.run(kernel, HOW=how, PERDURE_STATE=state).returncode != 0

    def asked(command: str) -> Any:
        assert main([command, "last", "--json", "--state", state]) == 0
        return json.loads(capsys.readouterr().out)

    why, found = asked("why"), asked("diagnose")
    assert why["status"] == how
    assert "its script is a notebook or a prompt: call the workflow there again, and it goes on" in why["reasons"]
    commands = [way["command"] for way in why["ways"]]
    commands += [command for one in found["findings"] for command in one["commands"]]
    assert [one for one in commands if "resume" in one] == []
    assert any(one.startswith("perdure show report-") for one in commands)
    assert [one for one in found["findings"] if "call the workflow there again" not in one["fix"]] == []
    codes = [one["code"] for one in found["findings"]]
    assert codes == (["credential-expired"] if how == "failed" else [])
    assert why["code"] == (codes[0] if codes else None)
