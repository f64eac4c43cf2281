"""`perdure run` of what fails: the user's own error first, then what was saved and how to go on."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from run_flow import SOURCE, perdure, with_flow

import warm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_flow(tmp_path)


def test_a_failed_run_shows_the_users_error_first_and_goes_on_after_the_fix(folder: Path) -> None:
    """The traceback is the script's own, without a frame of perdure's; what was saved and what to do come after it; the
    same command (or the script itself) goes on without doing the first step again."""
    failed = perdure(folder, "run", "flow.py:fragile", "monday")
    assert failed.returncode == 1
    assert failed.stdout == ""
    trace = failed.stderr[failed.stderr.index("Traceback") :]
    assert "RuntimeError: the bank said no" in trace
    assert trace.index("flow.py") < trace.index("RuntimeError")
    assert str(SOURCE) not in trace
    assert "asyncio" not in trace
    assert "1 step saved" in trace
    run_id = next(line.split()[1] for line in failed.stderr.splitlines() if line.startswith("run "))
    assert f"perdure show {run_id}" in trace
    assert f"perdure resume {run_id}" in trace

    (folder / "repaired").touch()
    again = perdure(folder, "run", "--json", "flow.py:fragile", "monday")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {
        "run": run_id, "workflow": "fragile", "status": "done", "result": "monday done", "dead_letters": 0
    }  # fmt: skip
    assert "resumed, with 1 step saved before" in again.stderr
    assert (folder / "ledger").read_text() == "first monday\n"


def test_the_command_and_the_script_itself_go_on_with_each_others_runs(folder: Path) -> None:
    """`python flow.py` fails, `perdure run flow.py:fragile` with the same arguments resumes that run."""
    script = warm.run(
        [sys.executable, "flow.py"], cwd=folder, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True
    )
    assert script.returncode == 1
    (folder / "repaired").touch()
    done = perdure(folder, "run", "flow.py:fragile", "today")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "'today done'\n"
    assert (folder / "ledger").read_text() == "first today\n"


def test_an_error_of_perdures_own_has_no_traceback(folder: Path) -> None:
    """What happened and what to do; a run that it ends has failed (1), it was no wrong command (2)."""
    failed = perdure(folder, "run", "flow.py:refused", "--state", "elsewhere.db")
    assert failed.returncode == 1
    assert "error [not-storable]: step 'bad' returns a value that cannot be saved" in failed.stderr
    assert "what to do: " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert f"--state {folder / 'elsewhere.db'}" in failed.stderr
    assert not (folder / ".perdure").exists()


def test_a_script_that_cannot_be_loaded_shows_its_own_error(folder: Path) -> None:
    """Python's message about the script, without the machinery that loads it."""
    (folder / "broken.py").write_text("import json\njson.loads('{')\n")
    failed = perdure(folder, "run", "broken.py")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Traceback")
    assert 'broken.py", line 2' in failed.stderr
    assert "frozen" not in failed.stderr
    assert str(SOURCE) not in failed.stderr
    assert "nothing was run" in failed.stderr
