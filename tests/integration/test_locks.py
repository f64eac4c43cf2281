"""Locks between processes: never two holders, and who is kept out is told by whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lock_scripts import BLOCK, LOCKED, Started, killed, said, started, waits

from conftest import Scripts


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Started]:
    yield from started(tmp_path)


@pytest.fixture
def cli(scripts: Scripts) -> Callable[..., list[str]]:
    """Arguments that make the script of Scripts.start the command line."""
    main = scripts.write("from perdure.cli import main\nraise SystemExit(main())\n", "command.py")
    return lambda *args: [str(main), *args]  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("second", ["nightly", "hourly"])
def test_another_process_is_skipped_whatever_its_inputs(scripts: Scripts, second: str) -> None:
    """Exit code 0 and one line: who has it, where, since when, for which run, and how far that has come."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    done = scripts.run(script, second, "tuesday")
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    for part in (
        "'nightly'",
        f"pid {holder.pid} on {os.uname().nodename} since 20",
        "run nightly-",
        "#1 first",
        "skip",
    ):
        assert part in line
    assert scripts.start(script, "unlocked", "x").communicate("\n", 60)[0] == "waiting\nresult x\n"
    assert holder.communicate("go\n", 60)[0] == "result monday\n"
    assert scripts.run(script, "hourly", "tuesday").stdout == "result tuesday\n"


def test_the_command_line_says_what_to_do(scripts: Scripts, cli: Callable[..., list[str]]) -> None:
    """--if-locked: skip is exit code 0, fail is 1, wait goes on when it is free; anything else is wrong usage."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    main, *rest = cli("run", "--if-locked")
    target = f"{script}:hourly"
    skip = scripts.run(Path(main), *rest, "skip", target, "x")
    fail = scripts.run(Path(main), *rest, "fail", target, "x")
    behind = scripts.run(Path(main), "run", target, "x", "--if-locked", "fail")
    wrong = scripts.run(Path(main), *rest, "perhaps", target, "x")
    assert [done.returncode for done in (skip, fail, behind, wrong)] == [0, 1, 1, 2]
    assert skip.stderr.startswith("skipped: lock 'nightly' is taken: pid ")
    assert "already-running" in fail.stderr
    waiting = scripts.start(Path(main), *rest, "wait", target, "x")
    assert f"pid {holder.pid}" in waits(waiting)
    holder.communicate("go\n", 60)
    assert waiting.communicate(timeout=60)[0].strip() == "'x'"


def test_resume_says_it_too(scripts: Scripts, cli: Callable[..., list[str]]) -> None:
    """A run that somebody else executes: skipped, refused or waited for, as the command line says."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    main, *rest = cli("resume", "last", "--state", str(script.parent / ".perdure" / "state.db"))
    assert scripts.run(Path(main), *rest).returncode == 0
    assert scripts.run(Path(main), *rest, "--if-locked", "fail").returncode == 1
    heir = scripts.start(Path(main), *rest, "--if-locked", "wait")
    assert f"pid {holder.pid}" in waits(heir)
    killed(holder)
    assert "monday" in heir.communicate("go\n", 60)[0]


def test_a_child_run_is_never_skipped(scripts: Scripts) -> None:
    """Its parent needs the result: that fails, with exit code 1, and is resumed when the lock is free."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    failed = scripts.run(script, "parent", "tuesday")
    assert failed.returncode == 1
    assert "already-running" in failed.stderr
    killed(holder)
    assert scripts.start(script, "parent", "tuesday").communicate("go\n", 60)[0] == "waiting\nresult tuesday\n"


def test_a_block_and_a_workflow_share_the_lock(scripts: Scripts) -> None:
    """Each keeps the other out; "skip" of a block ends the script with exit code 0 and a line."""
    script, block = scripts.write(LOCKED), scripts.write(BLOCK, "block.py")
    holder = scripts.start(block, "fail")
    assert said(holder) == "entered 1"
    assert "skipped" in scripts.run(script, "hourly", "x").stderr
    doctor = scripts.write("from perdure.cli import main\nmain(['doctor'])\n", "doctor.py")
    assert f"lock 'nightly' is taken: pid {holder.pid}" in " ".join(scripts.run(doctor).stdout.split())
    skipped = scripts.run(block, "skip")
    assert (skipped.returncode, skipped.stdout, len(skipped.stderr.splitlines())) == (0, "", 1)
    assert f"pid {holder.pid}" in skipped.stderr
    assert scripts.run(block, "fail").returncode == 1
    waiting = scripts.start(block, "wait")
    assert f"pid {holder.pid}" in waits(waiting)
    assert holder.communicate("\n", 60)[0] == "left\n"
    assert said(waiting) == "entered 2"
    waiting.communicate("\n", 60)
    run = scripts.start(script, "nightly", "x")
    assert said(run) == "waiting"
    assert scripts.run(block, "fail").returncode == 1
    run.communicate("\n", 60)
