"""What the system refuses for a file beside the state file is one of perdure's errors, or stops nothing at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import warm
from conftest import SOURCE, Scripts, _clean

SCRIPT = """
from perdure import step, workflow

@step(retry=None)
def s(i: int) -> int:
    return i

@workflow
def wf() -> int:
    return sum(s(i) for i in range(3))

if __name__ == "__main__":
    print("RESULT", wf())
"""

COMMANDS = ("ps", "show last", "why last", "dlq ls", "breaker ls", "alert pending", "alert flush", "cancel x", "doctor")


def perdure(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**_clean(), "PYTHONPATH": str(SOURCE)}
    argv = [sys.executable, "-m", "perdure", *words, "--state", str(folder / ".perdure" / "state.db")]
    return warm.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["unlink", "mkdir", "flock", "fstat"])
def test_each_call_fails_once_for_a_script(scripts: Scripts, call: str) -> None:
    """EIO from each call for a file of the state: the result, or a named error; and the next start goes on."""
    script = scripts.write(SCRIPT)
    state = scripts.folder / ".perdure"
    name = "newfstatat" if call == "fstat" else call
    trace = scripts.folder / "trace"
    env = {**_clean(), "PYTHONPATH": str(SOURCE)}

    def run(*options: str) -> str:
        argv = ["strace", "-f", "-qq", "-o", str(trace), *options, sys.executable, str(script)]
        done = warm.run(argv, cwd=scripts.folder, env=env, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "RESULT 3" in run("-e", f"trace=?{name}")
    lines = trace.read_text().splitlines()
    numbers = [number for number, line in enumerate(lines, start=1) if ".perdure" in line or call == "flock"]
    hit = 0
    for number in numbers[:: max(1, len(numbers) // 3)]:
        shutil.rmtree(state, ignore_errors=True)  # what was hit may have come before it was made
        said = run("-e", f"trace=?{name}", "-e", f"inject=?{name}:error=EIO:when={number}")
        failed = next((line for line in trace.read_text().splitlines() if "INJECTED" in line), "")
        if call != "flock" and ".perdure" not in failed:
            continue  # an import looked at more or fewer files than the first time, and it hit one of those
        hit += 1
        ends = [line for line in said.splitlines() if line.startswith(("RESULT 3", "perdure.errors.State", "OSError"))]
        assert ends, (number, said)
        assert not ends[-1].startswith("OSError"), (number, said)
        again = scripts.run(script)
        assert again.stdout == "RESULT 3\n", (number, again.stderr)
    assert hit


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root sees everything")
def test_commands_name_what_they_may_not_see(scripts: Scripts) -> None:
    """A folder that nobody may look into: each command says so, and what to do; none ends in a traceback."""
    script = scripts.write(SCRIPT)
    assert scripts.run(script).returncode == 0
    state = scripts.folder / ".perdure" / "state.db"
    for suffix in ("-services", "-alerts", "-flight", "-locks"):
        beside = state.with_name(state.name + suffix)
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)
        os.symlink(beside.name, beside)  # to itself: every look at it ends in ELOOP
    for command in COMMANDS:
        done = perdure(scripts.folder, *command.split())
        assert "Traceback" not in done.stderr, (command, done.stderr)
        assert done.returncode == 0 or "what to do" in done.stderr + done.stdout, (command, done.stderr)
