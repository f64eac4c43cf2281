"""A process that is watched, and dies in the middle of a step: `watched.py WAY STATE TARGET [OPTION=VALUE ...]`."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from perdure.alerts.watchdog import Settings, Watchdog
from perdure.core.run import Start, Taken
from perdure.store import flight
from perdure.store.flight import Recorder, Slot
from perdure.store.runs import Store

RUN = "nightly-1"


class Life:
    """The run of a process, as an engine would go about it."""

    def __init__(self, state: Path, target: str, options: dict[str, str]) -> None:
        self.store = Store(state)
        start = Start("watched.py", __file__, "nightly", b"k" * 16, b"", RUN, id=RUN, named=True)
        taken = self.store.journal.write((), self.store.begin(start, time.time()))
        assert isinstance(taken, Taken)
        self.run = taken.run
        self.recorder = Recorder(flight.folder_of(state), self.store.holder._token, __file__, time.time())
        self.watchdog = Watchdog(Settings(state, interrupts="interrupts" in options), self.recorder)
        self.watchdog.began(
            *(RUN, "nightly", (target,)),
            stall=float(options.get("stall", 0)),
            deadline=float(options.get("deadline", 0)),
        )
        self.slot: Slot = None
        self.step()

    def step(self) -> None:
        """A step begins."""
        self.slot = self.recorder.begin(RUN, "charge", b"c" * 16, 0, 2, time.time())

    def stop(self, error: BaseException) -> None:
        """Something goes through the workflow that is not an Exception."""
        self.recorder.end(self.slot, done=False)
        self.watchdog.stopped(RUN, error)
        self.store.release(self.run, time.time())
        self.close()
        raise error

    def close(self) -> None:
        for _ in range(2):  # twice does no harm
            self.recorder.close()
            self.watchdog.clean()
        self.store.close()

    def end(self) -> None:
        """All went well."""
        self.recorder.end(self.slot)
        self.watchdog.ended(RUN)
        self.close()


def kill(number: int) -> Callable[[Life], None]:
    def die(life: Life) -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    return die


def segfault(life: Life) -> None:
    import faulthandler

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler._sigsegv()  # type: ignore[attr-defined]


def hoard(life: Life) -> None:
    """Once it is watched: what the kernel counts is compared with what it had counted before."""
    until = time.monotonic() + 10
    while (seen := flight.read(life.recorder.path)) is not None and not seen.memory and time.monotonic() < until:
        time.sleep(0.005)
    kept = []
    while True:
        kept.append(bytearray(b"x") * (1 << 20))


def boom(life: Life) -> None:
    raise ValueError("the moon is full")


def cancelled(life: Life) -> None:
    """What asyncio makes of Ctrl-C: the workflow is cancelled, and KeyboardInterrupt ends the process."""
    import asyncio

    life.watchdog.stopped(RUN, asyncio.CancelledError())
    raise KeyboardInterrupt


def wait(life: Life) -> None:
    print("waiting", flush=True)
    threading.Event().wait(60)


def closes_everything(life: Life) -> None:
    """As a script does that makes itself a daemon."""
    os.closerange(3, 256)
    os.kill(os.getpid(), signal.SIGKILL)


def leaves_a_child(life: Life) -> None:
    """A grandchild that holds the pipe open, as one forked by a C library would."""
    import subprocess

    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(["sleep", "60"], pass_fds=(life.watchdog._pipe,), **quiet)  # type: ignore[call-overload]
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def forks(life: Life) -> None:
    """A child of its own that ends first, and another that outlives it; neither is the run."""
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.wait()[0] == child
    try:
        os.wait()
    except ChildProcessError:
        print("childless", flush=True)
    life.end()


def loses_its_companion(life: Life) -> None:
    """The companion is gone, and SIGPIPE as deadly as the system has it."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print("waiting", flush=True)
    sys.stdin.readline()
    life.watchdog.began("nightly-2", "nightly", ("exec:/bin/true",))
    life.watchdog.ended("nightly-2")
    life.end()
    print("alive", flush=True)


def hangs(life: Life) -> None:
    """No step finishes until somebody says so; then one does, and all ends well."""
    print("waiting", flush=True)
    sys.stdin.readline()
    life.recorder.end(life.slot)
    life.step()
    sys.stdin.readline()
    life.end()


WAYS: dict[str, Callable[[Life], None]] = {
    "SIGKILL": kill(signal.SIGKILL),
    "SIGTERM": kill(signal.SIGTERM),
    "SIGHUP": kill(signal.SIGHUP),
    "segfault": segfault,
    "os._exit": lambda life: os._exit(3),
    "sys.exit": lambda life: life.stop(SystemExit(3)),
    "sys.exit with a text": lambda life: life.stop(SystemExit("no disk")),
    "exception": boom,
    "Ctrl-C": lambda life: life.stop(KeyboardInterrupt()),
    "Ctrl-C in asyncio": cancelled,
    "out of memory": hoard,
    "clean": Life.end,
    "wait": wait,
    "closes everything": closes_everything,
    "leaves a child": leaves_a_child,
    "forks": forks,
    "loses its companion": loses_its_companion,
    "hangs": hangs,
}

if __name__ == "__main__":
    way, state, target, *rest = sys.argv[1:]
    WAYS[way](Life(Path(state), target, dict(option.split("=") for option in rest)))
