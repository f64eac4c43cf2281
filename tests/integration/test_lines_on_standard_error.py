"""What a run says of itself where nothing else shows it: that it goes on, waits, undoes, or has dead letters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import warm
from conftest import Scripts

SCRIPT = """
    import os, sys, time
    from perdure import Retry, step, workflow
    from perdure.engines.runtime.clock import RealWorld
    RealWorld.sleep = staticmethod(lambda seconds: clock.append(seconds))
    RealWorld.clock = staticmethod(lambda: sum(clock))
    clock = [0.0]

    @step
    def take(n: int) -> None: ...
    @step(undo=take)
    def put(n: int) -> int: return n
    @step(retry=None)
    def part(n: int) -> int:
        if n == 2: raise OSError("no part")
        return n
    @step(retry=Retry(attempts=2, delay=30, jitter=0))
    def slow(secret: str) -> str:
        if len(clock) < 2: raise ConnectionError("the bank is closed, password=hunter22")
        return "ok"
    @workflow
    def resumed() -> int:
        put(1)
        if not os.path.exists("again"): os._exit(9)
        return put(2)
    @workflow
    def outer() -> int: return resumed()
    @workflow
    def waiting() -> str: return slow("x")
    @workflow
    def undoing() -> None:
        put(1); put(2)
        raise OSError("the end")
    @workflow
    def letters() -> int: return len(part.map([1, 2, 3]).results)
    @workflow(fail_on_dead=True)
    def strict() -> int: return len(part.map([1, 2, 3]).results)
    @workflow(fail_on_dead=2)
    def lenient() -> int: return len(part.map([1, 2, 3]).results)
    @workflow
    def around() -> int: return letters()
    if __name__ == "__main__": print(globals()[sys.argv[1]]())
"""


@pytest.fixture
def flow(scripts: Scripts) -> Path:
    """A script with workflows that have something to say."""
    return scripts.write(SCRIPT)


def run(scripts: Scripts, flow: Path, name: str, **env: str) -> tuple[int, list[str]]:
    """Exit code and perdure's own lines of `python FILE`."""
    process = scripts.start(flow, name, **env)
    _, errors = process.communicate(timeout=60)
    return process.returncode, [line for line in errors.splitlines() if line.startswith("perdure: ")]


def perdure(flow: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return warm.run(
        [sys.executable, "-m", "perdure", *args],
        cwd=flow.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_run_that_goes_on_says_so(scripts: Scripts, flow: Path) -> None:
    """One line with the run and what is saved; the first time none; and none with PERDURE_QUIET=1."""
    assert run(scripts, flow, "resumed") == (9, [])
    code, [line] = run(scripts, flow, "resumed")
    assert (code, "goes on, with 1 step saved before" in line) == (9, True)
    assert run(scripts, flow, "resumed", PERDURE_QUIET="1") == (9, [])


def test_a_run_that_goes_on_names_what_its_child_has(scripts: Scripts, flow: Path) -> None:
    """Else it would read as if nothing had been saved."""
    assert run(scripts, flow, "outer") == (9, [])
    code, [line] = run(scripts, flow, "outer")
    assert (code, "with 0 steps saved before, beside what its child run has" in line) == (9, True)


def test_a_long_wait_says_so(scripts: Scripts, flow: Path) -> None:
    """Which step, how long, and why, without the credential in the error."""
    code, [line] = run(scripts, flow, "waiting")
    assert code == 0
    assert "step 'slow' waits 30 s: attempt 1 failed (ConnectionError: the bank is closed" in line
    assert "hunter22" not in line


def test_a_run_that_undoes_says_so(scripts: Scripts, flow: Path) -> None:
    """How many completed steps it takes back."""
    code, lines = run(scripts, flow, "undoing")
    assert code == 1
    assert [line for line in lines if "undoes 2 completed steps" in line]


def test_dead_letters_are_said_however_the_run_was_started(scripts: Scripts, flow: Path) -> None:
    """`python FILE`: one line with the command that lists them, of child runs too, also with PERDURE_QUIET=1."""
    for name in ("letters", "around"):
        code, [line] = run(scripts, flow, name, PERDURE_QUIET="1")
        assert (code, "is done with 1 dead letter: perdure dlq ls --run " in line) == (0, True)


def test_the_command_says_it_once(scripts: Scripts, flow: Path) -> None:
    """`perdure run` shows all of that itself: no line of this kind is there beside it, with --json neither."""
    for options in ((), ("--json",), ("--log-json",)):
        done = perdure(flow, "run", *options, f"{flow.name}:letters")
        assert done.returncode == 3
        assert "is done with 1 dead letter" not in done.stderr + done.stdout
        assert "perdure: run" not in done.stderr + done.stdout


def test_a_run_may_fail_on_dead_letters(scripts: Scripts, flow: Path) -> None:
    """fail_on_dead=True: exit code 1 and the error; with a number, only with so many."""
    process = scripts.start(flow, "strict")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "has 1 dead letter, and fail_on_dead is 1 [dead-letters]" in errors
    assert run(scripts, flow, "lenient")[0] == 0
