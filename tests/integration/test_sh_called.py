"""What `perdure.sh` gives to the step that calls it, and what it refuses."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from test_sh import is_alive

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.engines.runtime import command
from perdure.errors import StepTimeout, UsageError
from waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="groups and signals of POSIX")


def test_the_output_is_the_result_and_is_shown(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard error is shown as well; what looks like a credential is not."""

    @step
    def talk() -> str:
        return perdure.sh("cat; echo to the log >&2; echo password=hunter2secret >&2", shell=True, input="given\n")

    @workflow
    def flow() -> str:
        return talk()

    assert flow() == "given\n"
    shown = capfd.readouterr().err
    assert "given\n" in shown
    assert "to the log\n" in shown
    assert "hunter2secret" not in shown


def test_a_command_that_fails_is_caught_alike_on_resume(machine: Machine) -> None:
    """As an error of subprocess and of perdure, with exit code and the end of standard error."""
    caught: list[tuple[str, int, str]] = []
    again = [True]

    @step(retry=None)
    def fails() -> None:
        perdure.sh(["sh", "-c", "seq 5000 >&2; echo no such table >&2; exit 3", "--token=abcdefghijklmnop1234"])

    @step(retry=None)
    def last() -> None:
        if again:
            raise KeyError("later")

    @workflow
    def flow(kind: str) -> None:
        wanted = perdure.CommandFailed if kind == "ours" else subprocess.CalledProcessError
        try:
            fails()
        except wanted as error:
            caught.append((str(error), error.returncode, error.stderr))
        last()

    for kind in ("ours", "theirs"):
        for _ in range(2):
            with pytest.raises(KeyError):
                flow(kind)
            machine.boot()
        first, second = caught
        assert first == second
        text, code, stderr = first
        assert "[command-failed]" in text
        assert "ended with exit code 3: no such table" in text
        assert "abcdefghijklmnop1234" not in text
        assert (code, stderr.endswith("no such table\n"), len(stderr) <= 4000) == (3, True, True)
        caught.clear()


def test_its_own_timeout_is_a_step_timeout(machine: Machine) -> None:
    """With what it said last."""

    @step(retry=None)
    def slow(timeout: str) -> None:
        perdure.sh("echo waiting for a lock >&2; sleep 1000", shell=True, timeout=timeout)

    @workflow
    def flow(timeout: str) -> None:
        slow(timeout)

    for timeout, shown in {"300ms": "300 ms", "3s": "3 s", "30s": "30 s"}.items():
        with pytest.raises(StepTimeout, match=f"did not end within {shown}") as error:
            flow(timeout)
        said = [note for note in getattr(error.value, "__notes__", []) if "waiting for a lock" in note]
        if said:  # on a busy machine a shell may take its time to begin
            break
    assert said


def test_a_program_that_has_left_the_group_holds_up_no_timeout(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it has the output, which is waited for where the program ends by itself."""
    monkeypatch.setattr(command, "DRAIN", 1000.0)
    os.mkfifo(tmp_path / "pipe")

    @step(retry=None)
    def slow() -> None:
        perdure.sh(f"setsid cat {shlex.quote(str(tmp_path / 'pipe'))} & wait", shell=True, timeout="300ms")

    @workflow
    def flow() -> None:
        slow()

    with pytest.raises(StepTimeout, match="was ended with its process group"):
        flow()
    with suppress(OSError):  # it was ended before it could leave the group
        os.close(os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK))


def test_what_a_program_has_left_in_its_group_ends_with_it(machine: Machine, tmp_path: Path) -> None:
    """A step that is done has nothing running behind it."""

    @step
    def leaves() -> str:
        return perdure.sh("sleep 1000 >/dev/null 2>&1 & echo $!", shell=True)

    @workflow
    def flow() -> str:
        return leaves()

    left = int(flow())
    until(lambda: not is_alive(left), "its end")


def test_where_it_belongs(machine: Machine) -> None:
    """In a workflow it would be run again at each resumption; outside one it is a plain function."""

    @workflow
    def flow() -> None:
        perdure.sh(["true"])

    with pytest.raises(UsageError, match="outside a step"):
        flow()
    assert perdure.sh(["echo", "plain"]) == "plain\n"
    with pytest.raises(UsageError, match="a text without shell=True"):
        perdure.sh("echo plain")
    with pytest.raises(UsageError, match="a list with shell=True"):
        perdure.sh(["echo"], shell=True)
    with pytest.raises(FileNotFoundError):
        perdure.sh(["no-such-program-here"])


def test_output_goes_to_a_file(machine: Machine, tmp_path: Path) -> None:
    """For what is too large to be a result."""
    with (tmp_path / "out").open("wb") as file:
        assert perdure.sh(["echo", "large"], stdout=file) == ""
    assert (tmp_path / "out").read_text() == "large\n"
