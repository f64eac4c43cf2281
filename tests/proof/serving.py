"""Workers that serve a script in a folder of its own, for proofs that kill them or break what is beneath them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.crash.kill import strace
from tests.waiting import pause

SOURCE = Path(__file__).parents[2] / "src"
PATIENCE = 120.0
"""Seconds that a worker, or a command, has to begin or to end."""

NOTE = """
def note(*words):
    ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, (" ".join(map(str, words)) + "\\n").encode())
    os.close(ledger)
"""
"""A part of scripts that keep a ledger beside themselves; `os` is imported there."""


class Place:
    """A folder with a script, its state file, and what the workers say.

    Args:
        script: the source of `app.py`.
        env: what the environment has besides.
    """

    def __init__(self, script: str, **env: str) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="perdure-proof-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.state = self.folder / "state.db"
        self.said = self.folder / "said"
        (self.folder / "app.py").write_text(script)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
        own = {"PYTHONPATH": str(SOURCE), "PERDURE_STATE": str(self.state), "PERDURE_ALERTS": ""}
        self.env = {**kept, **own, "PERDURE_CRASH_LIMIT": "1000000", **env}
        self._workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            self.kill(worker)
        self._temporary.cleanup()

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """A worker in a group of its own, gone afterwards; it need not be ready yet."""
        with self.said.open("ab") as said:
            command = [sys.executable, "-m", "perdure", "worker", "app.py", *options]
            started = subprocess.Popen(
                command, cwd=self.folder, env=self.env, stdout=said, stderr=said, start_new_session=True
            )
        self._workers.append(started)
        return started

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def python(self, code: str) -> None:
        """Execute code that has the script imported as `app`, to its end."""
        whole = f"import sys; sys.path.insert(0, '.'); import app, perdure\n{code}"
        command = [sys.executable, "-c", whole]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if done.returncode:
            raise AssertionError(f"the sender has ended with {done.returncode}: {done.stderr}")

    def lines(self, name: str) -> list[list[str]]:
        """The words of each line of a file of the folder; none if it is not there yet."""
        try:
            return [line.split() for line in (self.folder / name).read_text().splitlines()]
        except FileNotFoundError:
            return []


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def waited(pids: Iterable[int]) -> dict[str, float]:
    """For how many seconds each thread of these processes has been ready, and had no processor."""
    found = {}
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                found[str(thread)] = int(thread.read_text().split()[1]) / 1e9
    return found


def starved(workers: Iterable[subprocess.Popen[bytes]]) -> int:
    """How often their threads, and those of their executors, have been ready for ten seconds more without a processor.
    Who waits for one does not stand still (`while_moving`)."""
    return int(sum(waited(pid for worker in workers for pid in (worker.pid, *children(worker.pid))).values()) / 10)


class Unserved:
    """For how long threads that wait for each other were ready, and had no processor, since this was made.

    What is measured from outside takes some threads, one after the other: of a worker three (a death or the end of a
    step is seen, the process acts, the other one of the worker sees that), and one of ours, which looks. So it is the
    three longest of a worker together, of the worker of which that is longest, and the longest of ours.

    Args:
        workers: the processes of each.
    """

    def __init__(self, workers: Sequence[Sequence[int]]) -> None:
        self._groups = [*workers, [os.getpid()]]
        self._before = [waited(pids) for pids in self._groups]
        self._passed: list[dict[str, float]] = [{} for _ in self._groups]

    def seconds(self) -> float:
        """So far. Of a process that ends it is known what was asked for last."""
        for pids, before, passed in zip(self._groups, self._before, self._passed, strict=True):
            passed |= {thread: now - before.get(thread, now) for thread, now in waited(pids).items()}
        *workers, ours = (sorted(each.values()) for each in self._passed)
        return max((sum(each[-3:]) for each in workers), default=0.0) + (ours[-1] if ours else 0.0)


def until(holds: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether something comes to hold within that time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        pause()
    return True


def while_moving(holds: Callable[[], object], moves: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether something comes to hold. It is waited for as long as something moves within that time, again and again:
    a machine with other things to do is slow, and that breaks no promise."""
    while not holds():
        before = moves()
        if not until(lambda before=before: holds() or moves() != before, seconds):  # type: ignore[misc]
            return False
    return True


def killed_at(pid: int, call: str, nth: int, seconds: float) -> bool:
    """Whether a process is killed within that time as one of its threads enters its n-th such system call."""
    tracer = subprocess.Popen([*strace(call, nth), "-p", str(pid)], stderr=subprocess.DEVNULL)
    try:
        return until(lambda: not _lives(pid), seconds)
    finally:
        tracer.terminate()
        try:
            tracer.wait(1.0)
        except subprocess.TimeoutExpired:  # it waits for a thread of a process that is dead
            tracer.kill()
            tracer.wait()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def again_and_again(work: Callable[[], object], between: Callable[[], float] = lambda: 0.05) -> Iterator[None]:
    """Meanwhile something is done, in a thread, each time after so many seconds."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(between()):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
