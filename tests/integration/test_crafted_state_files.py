"""A token in a state file that was crafted leads neither a command nor a run to a file elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

import warm
from perdure.core.checksums import row_checksum

SCRIPT = """
import os
from perdure import step, workflow

@step(retry=None)
def one(n: int) -> int:
    return n

@workflow
def job() -> int:
    one(1)
    if os.environ.get("DIE"):
        os.kill(os.getpid(), 9)
    return one(2)

if __name__ == "__main__":
    print("result", job())
"""


def run(folder: Path, *command: str, **environment: str) -> int:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    return warm.run([sys.executable, *command], cwd=folder, env=kept | environment, capture_output=True).returncode


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a script that has died in its run."""
    folder = tmp_path_factory.mktemp("left") / "job"
    folder.mkdir()
    (folder / "job.py").write_text(SCRIPT)
    assert run(folder, "job.py", DIE="1") == -signal.SIGKILL
    return folder


@pytest.mark.parametrize("command", [("-m", "perdure", "show", "last"), ("job.py",)], ids=["show", "start"])
def test_a_crafted_state_file(command: tuple[str, ...], left: Path, tmp_path: Path) -> None:
    """Neither looking at it nor running its script touches a file elsewhere."""
    folder = Path(shutil.copytree(left, tmp_path / "job"))
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "uv.lock").write_text("precious")
    connection = sqlite3.connect(folder / ".perdure" / "state.db")
    # Whoever crafts a file makes its checksums right as well.
    hid, _, *rest = connection.execute("SELECT hid, token, pid, host, started, gone FROM holder").fetchone()
    token = str(victim / "uv")
    connection.execute("UPDATE holder SET token = ?, crc = ?", (token, row_checksum(hid, token, *rest)))
    connection.commit()
    connection.close()
    assert run(folder, *command, PERDURE_ALERTS="exec:/bin/true") == 0
    assert [path.name for path in victim.iterdir()] == ["uv.lock"]
