"""`perdure run` of what exits, is interrupted, or is running already: exit codes, and what can be resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_flow import SOURCE, perdure, with_flow

import warm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_flow(tmp_path)


def test_a_script_that_exits_keeps_its_exit_code(folder: Path) -> None:
    """sys.exit in a workflow is no end of the run: the code is the script's, the run can be resumed."""
    (folder / "leaving.py").write_text(
        "import sys\nfrom perdure import workflow\n@workflow\ndef leave() -> None:\n    sys.exit(7)\n"
    )
    left = perdure(folder, "run", "leaving.py")
    assert left.returncode == 7
    assert "stopped by sys.exit; 0 steps saved; run again to resume" in left.stderr
    assert "Traceback" not in left.stderr
    (listed,) = json.loads(perdure(folder, "ps", "--json").stdout)["runs"]
    assert listed["status"] == "interrupted"


SLOW = """
import sys, time
from perdure import step, workflow

@step
def quick() -> int:
    return 1

@step
def endless() -> int:
    print("here", flush=True)
    sys.stdin.read()
    return 2

@workflow
def slow() -> int:
    return quick() + endless()
"""


def test_interrupting_and_overlapping(tmp_path: Path) -> None:
    """A second start while one runs is skipped: exit code 0, and one line that says who has it. Ctrl-C gives one line
    and exit code 130, and the run can be resumed."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "perdure", "run", "slow.py"]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with warm.Popen(command, cwd=tmp_path, env=env, text=True, **pipes) as first:  # type: ignore[call-overload]
        assert first.stdout.readline() == "here\n"
        second = perdure(tmp_path, "run", "slow.py")
        assert (second.returncode, second.stdout) == (0, "")
        assert f"pid {first.pid}" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        (listed,) = json.loads(perdure(tmp_path, "ps", "--json").stdout)["runs"]
        assert (listed["status"], listed["pid"]) == ("running", first.pid)

        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Traceback" not in err
    assert "interrupted; 1 step saved; run again to resume" in err.splitlines()[-1]
    (listed,) = json.loads(perdure(tmp_path, "ps", "--json").stdout)["runs"]
    assert listed["status"] == "interrupted"
    resumed = warm.run(
        [*command[:3], "resume", "last"], cwd=tmp_path, env=env, input="", text=True, capture_output=True
    )
    assert (resumed.returncode, resumed.stdout) == (0, "here\n3\n"), resumed.stderr
