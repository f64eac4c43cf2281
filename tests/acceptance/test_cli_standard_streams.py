"""Commands whose standard streams are closed, or cannot be written, say so, and do what they are for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from perdure import step, workflow

@step
def act(n: int) -> int:
    return n

@workflow
def acts() -> int:
    return act(1)
"""

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    (folder / "acts.py").write_text(SCRIPT, encoding="utf-8")
    assert shell(folder, "run acts.py").returncode == 0
    return folder


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command, with what a shell makes of its streams."""
    line = f"{sys.executable} -m perdure {command}"
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["ps", "ps --json", "show nobody --json"])
def test_what_cannot_be_printed_is_said_once(folder: Path, command: str) -> None:
    """On a full disk: an error of the output, on standard error; not of the state, and no traceback."""
    done = shell(folder, f"{command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error [output]: standard output cannot be written (No space left on device)")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_the_null_device(folder: Path, closed: str) -> None:
    """As supervisors start programs: the command does its work, and exits as it would; no file takes the stream's
    place, so nothing that is printed is written into one."""
    done = shell(folder, f"run acts.py {closed}")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    listed = shell(folder, f"ps {closed}")
    assert (listed.returncode, "error" in listed.stderr) == (0, False)
    assert '"acts"' in shell(folder, "ps --json").stdout
