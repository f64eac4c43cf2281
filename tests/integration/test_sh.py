"""The programs of a step end with it: `perdure.sh`, and what a killed process has left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

import perdure
from conftest import Machine, Scripts, replace
from perdure import step, workflow
from perdure.engines.runtime import command
from perdure.errors import StepTimeout
from waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="groups and signals of POSIX")

LONG = "echo $$ >> pids; sleep 1000 & echo $! >> pids; wait"
"""A shell and a program that it starts, both of which write down their numbers and go on for ever."""

SCRIPT = f"""
import asyncio, os, subprocess, sys
import perdure
from perdure import step, workflow

LONG = {LONG!r}

def long() -> None:
    if os.path.exists("short"):
        return
    perdure.sh(LONG, shell=True)

@step(retry=None)
def calm() -> None:
    long()

def written(count: int) -> bool:
    # Has a program of an earlier attempt written down so many numbers? On a busy machine the first may not.
    return os.path.exists("pids") and len(open("pids").read().split()) >= count

AGAIN = perdure.Retry(attempts=100, delay=0)

@step(retry=AGAIN, timeout="500ms")
def late() -> None:
    if not written(2):
        long()

@step(retry=AGAIN, timeout="500ms", isolate=True)
def alone() -> None:
    if not written(2):
        long()

@step(retry=AGAIN, timeout="500ms")
async def alate() -> None:
    if not written(2):
        await perdure.aio.sh(LONG, shell=True)

@step(retry=None)
def plain() -> None:
    if not os.path.exists("short"):
        subprocess.run(LONG, shell=True)

@workflow
def main(name: str) -> None:
    globals()[name]()

@step(retry=AGAIN, timeout="500ms")
def item(name: str) -> None:
    if not written(4):
        long()

@workflow
def items() -> bool:
    return item.map(["a", "b"], concurrency=2).ok

@workflow
async def amain() -> None:
    await alate()

if __name__ == "__main__":
    name = sys.argv[1]
    if name == "amain":
        asyncio.run(amain())
    elif name == "items":
        print(items())
    else:
        main(name)
"""


def is_alive(pid: int) -> bool:
    """Does a process of that number run?"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes() if sys.platform == "linux" else b")"
        os.kill(pid, 0)
    except (OSError, ProcessLookupError):
        return False
    return b") Z " not in stat


def pids(folder: Path, count: int) -> list[int]:
    """The numbers that the programs have written down, as soon as there are so many."""
    path = folder / "pids"
    lines = until(
        lambda: (path.exists() and len(found := path.read_text().split()) >= count and found) or None, "a pid"
    )
    return [int(line) for line in lines]


@pytest.mark.parametrize("how", ["late", "alone", "amain", "items"])
def test_a_step_that_runs_out_of_time_takes_its_programs_along(scripts: Scripts, how: str) -> None:
    """On the main thread, in a process of its own, on a loop, in a pool thread: also what the program has started."""
    done = scripts.run(scripts.write(SCRIPT), how)
    assert done.returncode == 0, done.stderr
    for pid in pids(scripts.folder, 4 if how == "items" else 2):
        until(lambda pid=pid: not is_alive(pid), "the end of a program")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_that_is_interrupted_takes_its_programs_along(scripts: Scripts, number: int) -> None:
    """Ctrl-C at once; a process that SIGTERM kills ends nothing any more, and the next one does."""
    script = scripts.write(SCRIPT)
    process = scripts.start(script, "calm")
    found = pids(scripts.folder, 2)
    process.send_signal(number)
    process.communicate()
    if number == signal.SIGTERM:
        (scripts.folder / "short").touch()
        assert scripts.run(script, "calm").returncode == 0
    for pid in found:
        until(lambda pid=pid: not is_alive(pid), "the end of a program")


@pytest.mark.skipif(sys.platform != "linux", reason="the environment of other processes is read from /proc")
def test_what_a_killed_process_has_left_is_ended_before_the_step_is_tried_again(scripts: Scripts) -> None:
    """Two dumps at once would write into one file."""
    script = scripts.write(SCRIPT)
    process = scripts.start(script, "calm")
    found = pids(scripts.folder, 2)
    process.kill()
    process.communicate()
    assert all(is_alive(pid) for pid in found), "the control: they outlive their process"
    (scripts.folder / "short").touch()
    done = scripts.run(script, "calm")
    assert done.returncode == 0
    assert f"pid {found[0]} " in done.stderr
    assert "is ended" in done.stderr
    for pid in found:
        until(lambda pid=pid: not is_alive(pid), "the end of a program")


@pytest.mark.skipif(sys.platform != "linux", reason="the environment of other processes is read from /proc")
def test_what_was_started_without_perdure_is_named(scripts: Scripts) -> None:
    """It may have been started to stay, so it is not ended; the line has the command that does."""
    script = scripts.write(SCRIPT)
    process = scripts.start(script, "plain")
    found = pids(scripts.folder, 2)
    process.kill()
    process.wait()  # its pipes are held open
    (scripts.folder / "short").touch()
    try:
        done = scripts.run(script, "plain")
        (line,) = [line for line in done.stderr.splitlines() if "is running still" in line]
        assert f"started by pid {process.pid} before it died" in line
        assert all(f"pid {pid} " in line and is_alive(pid) for pid in found)
        again = scripts.run(script, "plain")
        assert "is running still" not in again.stderr, "another run has nothing to do with it"
    finally:
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="the environment of other processes is read from /proc")
def test_programs_of_runs_under_way_are_left_alone(scripts: Scripts) -> None:
    """Resuming one run does not end what a living process does for another."""
    script = scripts.write(SCRIPT)
    living = scripts.start(script, "calm")
    found = pids(scripts.folder, 2)
    (scripts.folder / "pids").unlink()
    other = scripts.start(script, "plain")
    left = pids(scripts.folder, 2)
    other.kill()
    other.wait()
    (scripts.folder / "short").touch()
    try:
        done = scripts.run(script, "plain")
        assert done.returncode == 0
        assert all(is_alive(pid) for pid in found)
        assert not any(f"pid {pid} " in done.stderr for pid in found)
    finally:
        living.send_signal(signal.SIGINT)
        living.communicate()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        other.communicate()


def test_what_breaks_in_just_when_a_program_has_begun_is_not_waited_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C when the thread that starts it is over, and this has been seen: the program is ended at once."""
    lock, ended = threading.Lock, list[bool]()

    class Cut:
        def __init__(self) -> None:
            self._real, self._times = lock(), 0
            self.release = self._real.release

        def acquire(self) -> None:
            self._real.acquire()
            self._times += 1
            if self._times == 2:
                raise KeyboardInterrupt

    class Started(command.Program):
        def __init__(self) -> None:
            pass

        def end(self) -> None:
            ended.append(True)

    replace(monkeypatch, threading, "Lock", Cut)
    with pytest.raises(KeyboardInterrupt):
        command._uninterrupted(lambda: None, Started())
    assert ended == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])
@pytest.mark.parametrize("where", ["at its fork", "before it is waited for"])
def test_what_breaks_in_between_its_fork_and_its_end_leaves_no_program(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    """Ctrl-C, and the end of the step's time, at the moment at which a program has begun and nobody knows it yet."""
    begun: list[int] = []

    class Broken(subprocess.Popen[bytes]):
        def _execute_child(self, *args: object) -> None:
            super()._execute_child(*args)  # type: ignore[misc]
            begun.append(self.pid)
            if where == "at its fork":
                # Again and again: one that comes just before the main thread waits does not wake it.
                main = threading.main_thread().ident or 0
                until(lambda: handled or signal.pthread_kill(main, number), "that the signal is handled")
                sent.append(True)

    def wait(*_: object) -> None:
        signal.raise_signal(number)

    @step(retry=None, timeout="1h")
    def long() -> None:
        heard = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None) -> None:
            handled.append(signum)
            assert callable(heard)
            if len(handled) == 1:
                heard(signum, frame)

        signal.signal(number, handle)
        try:
            perdure.sh("sleep 1000 & wait", shell=True)
        finally:
            if where == "at its fork":
                until(lambda: sent, "the last signal")  # it is not to come when the next test has begun
            signal.signal(number, heard)

    @workflow
    def flow() -> None:
        long()

    handled: list[int] = []
    sent: list[bool] = []
    replace(monkeypatch, subprocess, "Popen", Broken)
    if where == "before it is waited for":
        replace(monkeypatch, command.Program, "wait", wait)
    with pytest.raises((KeyboardInterrupt, StepTimeout)):
        flow()
    until(lambda: not is_alive(begun[0]), "the end of the program")


def test_a_program_whose_output_no_thread_can_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no thread left just when the program has begun: the error is told, and nothing runs on."""
    begun: list[int] = []

    class Noted(subprocess.Popen[bytes]):
        def _execute_child(self, *args: object) -> None:
            super()._execute_child(*args)  # type: ignore[misc]
            begun.append(self.pid)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    replace(monkeypatch, subprocess, "Popen", Noted)
    replace(monkeypatch, threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start"):
        command.Program(["sleep", "1000"])
    assert not is_alive(begun[0])
