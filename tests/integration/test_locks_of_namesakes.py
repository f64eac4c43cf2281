"""Locks whose holders share a process id, a host name or a folder's content: none is taken for the other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lock_scripts import BLOCK, Started, killed, said, started, waits

from conftest import SOURCE, Scripts


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Started]:
    yield from started(tmp_path)


def unshare(*options: str) -> list[str]:
    """A command that starts another in namespaces of its own; skips the test where that is not allowed."""
    command = ["unshare", *options]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip(f"{' '.join(command)} is not possible here; it takes root")
    return command


def test_the_same_pid_is_not_the_same_process(scripts: Started) -> None:
    """Every holder is process 1 of its namespace, as in a container: neither is a dead one taken for the living one
    that has its number, nor a living one for oneself."""
    wrap = unshare("--pid", "--fork", "--kill-child", "--mount-proc")
    block = scripts.write(BLOCK, "block.py")

    def contained(how: str) -> subprocess.Popen[str]:
        return inside(scripts, wrap, block, how)

    first = contained("fail")
    assert said(first) == "entered 1"
    second = contained("fail")
    assert "pid 1 on" in second.communicate(timeout=60)[1]
    assert second.returncode == 1
    waiting = contained("wait")
    assert "pid 1 on" in waits(waiting)
    first.send_signal(signal.SIGKILL)  # unshare dies, and takes process 1 with it
    assert said(waiting) == "entered 2"
    assert contained("fail").wait(60) == 1


def test_the_host_s_name_does_not_matter(scripts: Started) -> None:
    """A holder under another name is alive as long as it lives, and dead at its death."""
    wrap = unshare("--uts")
    block = scripts.write(BLOCK, "block.py")
    first = inside(scripts, [*wrap, "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"], block, "fail")
    assert said(first) == "entered 1"
    second = scripts.run(block, "fail")
    assert second.returncode == 1
    assert "on elsewhere since" in second.stderr
    killed(first)
    third = scripts.start(block, "fail")
    assert said(third) == "entered 2"
    third.communicate("\n", 60)


def inside(scripts: Started, wrap: list[str], script: Path, *args: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(
        [*wrap, sys.executable, str(script), *args],
        cwd=scripts.folder,
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    scripts.processes.append(process)
    return process


def test_a_copied_state_folder_is_a_place_of_its_own(scripts: Scripts) -> None:
    """Lock files are copied, locks are not: in the copy nobody has it, where it was the holder still does."""
    block = scripts.write(BLOCK, "here/block.py")
    holder = scripts.start(block, "fail")
    assert said(holder) == "entered 1"
    shutil.copytree(block.parent, scripts.folder / "there")
    copy = scripts.start(scripts.folder / "there" / "block.py", "fail")
    assert said(copy) == "entered 2"
    assert scripts.run(block, "fail").returncode == 1
    for process in (copy, holder):
        assert process.communicate("\n", 60)[0] == "left\n"
