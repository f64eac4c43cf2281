"""A script whose run dies in the middle of something: `watched.py WAY STATE TARGET [where=PLACE] [OPTION=VALUE]`."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from perdure import Retry, step, workflow
from perdure.api.context import attempt
from perdure.core.execution.spec import spec_of
from perdure.engines.local.engine import LocalEngine, engine_at
from perdure.store import flight_record

WAY, STATE, TARGET = sys.argv[1:4]
OPTIONS = dict(option.split("=", 1) for option in sys.argv[4:])
TWICE = Retry(attempts=2, delay=0.001, jitter=0)


class Trouble(Exception):
    """What may heal."""


def engine() -> LocalEngine:
    return engine_at(Path(STATE))


# -- ways to die ------------------------------------------------------------------------------------------------------


def kill(number: int) -> Callable[[], None]:
    def die() -> None:
        os.kill(os.getpid(), number)
        if number != signal.SIGINT:
            signal.pause()

    return die


def segfault() -> None:
    import faulthandler

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler._sigsegv()  # type: ignore[attr-defined]


def hoard() -> None:
    """Once it has been looked at: what the kernel counts is compared with what it had counted before."""
    recorder = engine().resources.monitor.recorder
    assert recorder is not None
    while not ((found := flight_record.read(recorder.path)) and found.memory):
        time.sleep(0.005)
    kept = []
    while True:
        kept.append(bytearray(b"x") * (1 << 20))


def boom() -> None:
    raise RuntimeError("the moon is full")


def leave(code: object) -> Callable[[], None]:
    def die() -> None:
        sys.exit(code)  # type: ignore[arg-type]

    return die


def wait() -> None:
    print("waiting", flush=True)
    threading.Event().wait(60)


def closes_everything() -> None:
    """As a script does that makes itself a daemon."""
    os.closerange(3, 256)
    os.kill(os.getpid(), signal.SIGKILL)


def leaves_a_child() -> None:
    """A grandchild that holds the pipe open, as one forked by a C library would."""
    import subprocess

    watchdog = engine().resources.monitor._client
    assert watchdog is not None
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(["sleep", "60"], pass_fds=(watchdog._pipe,), **quiet)  # type: ignore[call-overload]
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def forks() -> None:
    """A child of its own that ends first, while a watchdog process runs that is none."""
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.wait()[0] == child
    try:
        os.wait()
    except ChildProcessError:
        print("childless", flush=True)


def listens() -> None:
    print("waiting", flush=True)
    sys.stdin.readline()


def loses_its_watchdog() -> None:
    """The watchdog process is gone, and SIGPIPE as deadly as the system has it."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    listens()


def cannot_be_interrupted() -> None:
    """A C call that waits for what never comes, deaf to signals, with the interpreter's lock in its hands."""
    import ctypes

    mutex = ctypes.create_string_buffer(128)
    library = ctypes.PyDLL(None)
    print("waiting", flush=True)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


WAYS: dict[str, Callable[[], None]] = {
    "SIGKILL": kill(signal.SIGKILL),
    "SIGTERM": kill(signal.SIGTERM),
    "SIGHUP": kill(signal.SIGHUP),
    "segfault": segfault,
    "os._exit": lambda: os._exit(3),
    "sys.exit": leave(3),
    "sys.exit with a text": leave("no disk"),
    "exception": boom,
    "Ctrl-C": kill(signal.SIGINT),
    "out of memory": hoard,
    "clean": lambda: None,
    "wait": wait,
    "closes everything": closes_everything,
    "leaves a child": leaves_a_child,
    "forks": forks,
    "loses its watchdog": loses_its_watchdog,
    "hangs": listens,
    "cannot be interrupted": cannot_be_interrupted,
}


def die(number: int = 0) -> None:
    """What this process is for; on the second try, of the third that come together."""
    if WAY != "exception" and attempt() == 1:
        raise Trouble("once")
    if number == 0:
        WAYS[WAY]()


# -- places to die in -------------------------------------------------------------------------------------------------


@step
def first() -> int:
    return 1


@step(retry=TWICE)
def charge() -> None:
    die()


@step(retry=TWICE)
async def acharge() -> None:
    if WAY == "Ctrl-C" and attempt() == 2:  # the loop has to see it
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
    if WAY == "hangs":
        print("waiting", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        return
    die()


together = threading.Barrier(4)
arrived: list[int] = []


@step(retry=TWICE)
def item(number: int) -> None:
    if attempt() == 2:
        together.wait(60)  # all of them are in flight
    die(number)
    if WAY not in ("clean", "Ctrl-C", "sys.exit"):
        threading.Event().wait(60)


@step(retry=TWICE)
async def aitem(number: int) -> None:
    if attempt() == 2:
        arrived.append(number)
        while number == 0 and len(arrived) < 4:
            await asyncio.sleep(0)  # until the others are in flight
    die(number)
    if WAY != "clean":
        await asyncio.sleep(60)


@workflow
def child() -> None:
    first()
    charge()


@workflow
async def achild() -> None:
    await acharge()


def nightly() -> None:
    first()
    charge()
    if WAY == "hangs":
        sys.stdin.readline()


def between() -> None:
    first()
    WAYS[WAY]()


def other() -> None:
    first()


def threads() -> None:
    first()
    item.map(range(4), concurrency=4)


def parent() -> None:
    child()


async def anightly() -> None:
    await acharge()
    if WAY == "hangs":
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def abetween() -> None:
    await asyncio.sleep(0)
    if WAY == "Ctrl-C":
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
    WAYS[WAY]()


async def tasks() -> None:
    await aitem.map(range(4), concurrency=4)


async def aparent() -> None:
    await achild()


PLACES = {
    "step": nightly,
    "between": between,
    "threads": threads,
    "child": parent,
    "async step": anightly,
    "async between": abetween,
    "tasks": tasks,
    "async child": aparent,
}

if __name__ == "__main__":
    os.environ["PERDURE_STATE"] = STATE
    if "interrupts" in OPTIONS:
        os.environ["PERDURE_ALERT_INTERRUPTS"] = "yes"
    rules = {name: f"{OPTIONS[name]}s" for name in ("stall", "timeout") if name in OPTIONS}
    heartbeat = OPTIONS.get("heartbeat")
    body = PLACES[OPTIONS.get("where", "step")]
    run = workflow(body, name="nightly", alert=TARGET, heartbeat=heartbeat, **rules).with_options(id="nightly-1")  # type: ignore[arg-type]
    if spec_of(run).is_async:
        asyncio.run(run())
    else:
        run()
    if WAY == "loses its watchdog":
        workflow(other, alert="exec:/bin/true")()
        print("alive", flush=True)
