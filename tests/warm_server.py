"""A process that has imported perdure, and forks for each command that `warm` sends.

It reads lines of JSON from a socket: a command (its three descriptors come before), or the pid of one that is to be
reaped. Until then its pid is no other process's.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import importlib
import importlib.machinery
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

PARTS = ("core", "config", "store", "api", "engines.runtime", "engines.local", "engines.processes", "operations", "cli")
ALSO = ("asyncio", "perdure.alerts.run_alerts", "perdure.alerts.watchdog.client")
APART = ("__main__", "child", "template_main")
"""Modules that are programs."""


def warm_up() -> None:
    """Import what scripts and commands need, also what perdure imports only when a run begins."""
    for part in PARTS:
        package = importlib.import_module(f"perdure.{part}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(APART):
                importlib.import_module(module.name)
    for name in ALSO:
        importlib.import_module(name)


def settle() -> None:
    """What is imported is no garbage: no command looks for any in it, also not at its end."""
    gc.collect()
    gc.freeze()


def serve(server: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Answer requests; return one in the forked child that is to become the command, None at the end."""
    while True:
        first, descriptors, _, _ = socket.recv_fds(server, 1, 3)
        if not first:
            return None
        line = b"" if first == b"+" else first
        while not line.endswith(b"\n"):
            line += server.recv(65536)
        request = json.loads(line)
        if "load" in request:
            answer = len([importlib.import_module(name) for name in request["load"]])
            settle()
        elif "reap" in request:
            answer = os.waitpid(request["reap"], 0)[1]
        elif (answer := os.fork()) == 0:
            return request, descriptors
        for each in descriptors:
            os.close(each)
        server.sendall(b"%d\n" % answer)


def take_over(request: dict[str, Any], descriptors: list[int]) -> None:
    """Have the descriptors, the session, the folder and the variables of the command."""
    if request["session"]:
        os.setsid()
    for number, each in enumerate(descriptors):
        os.dup2(each, number)
    os.closerange(3, 1 + max(map(int, os.listdir("/proc/self/fd"))))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = opened(number, name)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def opened(number: int, name: str) -> io.TextIOWrapper:
    """A standard stream, as the interpreter opens it."""
    before = getattr(sys, name)
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    raw.name = f"<{name}>"
    at_once = bool(number and os.environ.get("PYTHONUNBUFFERED"))
    buffer: Any = raw if at_once else io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    lines = number == 2 or raw.isatty()
    text = io.TextIOWrapper(
        buffer, before.encoding, before.errors, newline="\n", line_buffering=lines, write_through=at_once
    )
    text.mode = "w" if number else "r"  # type: ignore[misc]
    return text


def execute(argv: list[str]) -> None:
    """Be the interpreter of this command line, up to the end of its program."""
    sys.orig_argv = argv
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main
    kind = argv[1]
    places = os.environ.get("PYTHONPATH", "")
    sys.path[:KEPT] = [each or os.getcwd() for each in places.split(os.pathsep)] if places else []
    # As perdure has it that is imported by the program: what that was started with.
    sys.modules["perdure.config.command_line"]._GIVEN[:] = argv[2 + (kind in ("-m", "-c")) :]
    sys.modules["perdure.config.command_line"]._FOLDER = os.getcwd()
    if kind == "-m":
        sys.argv = argv[2:]
        sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(argv[2])  # type: ignore[attr-defined]
        return
    if kind == "-c":
        sys.argv = ["-c", *argv[3:]]
        sys.path.insert(0, "")
        code = compile(argv[2], "<string>", "exec")
    else:
        sys.argv = argv[1:]
        path = os.path.abspath(kind)
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
        loader = importlib.machinery.SourceFileLoader("__main__", path)
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        main.__dict__.update(__file__=path, __cached__=None, __loader__=loader)
    exec(code, main.__dict__)


def status_of(program: Callable[[], object]) -> int:
    """Execute a program; the exit code, or that a signal ends it."""
    try:
        program()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    except BaseException as error:
        behind = error.__traceback__
        while behind is not None and behind.tb_frame.f_code.co_filename == __file__:
            behind = behind.tb_next
        sys.excepthook(type(error), error.with_traceback(behind), behind)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def end(status: int) -> None:
    """End as an interpreter does: threads, what is registered, what the program has made; but not module by module.

    To take down what has been imported costs more than to import it in a fork.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    for name in ("stdout", "stderr"):
        with suppress(OSError, ValueError, AttributeError):
            getattr(sys, name).flush()
    del sys.modules["__main__"]
    gc.collect()
    if status == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status)


if __name__ == "__main__":
    KEPT = 1 + len([each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each])
    warm_up()
    settle()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        job = serve(connection)
        if job is not None:
            connection.detach()
    if job is not None:
        take_over(*job)
        end(status_of(partial(execute, job[0]["argv"])))
