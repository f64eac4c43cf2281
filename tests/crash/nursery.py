"""Starts victims. `python nursery.py` is a process that has perdure imported and forks a victim for each request.

A fresh interpreter takes a tenth of a second, most of it imports; a fork of a warm one takes a hundredth, so ten
times as many kills fit in the same time. A request may also name a command to execute (a fresh python), which then
replaces the fork, or have the fork traced by strace. A fork ends as an interpreter does, but not module by module: that
takes more than half of what a short workload takes.

It speaks JSON lines: `{"argv", "env", "cwd", "output", "execute", "tracer"}` in; `{"pid"}` out; `{"status"}` out when
the victim is dead, and who traced it is through; any line in to have it reaped. Until then its pid cannot be taken by
another process, so a late kill hits nobody else.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import sys
from functools import partial
from typing import Any

sys.path.append(ROOT := os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.warm_server import end, status_of

sys.path.remove(ROOT)
PR_SET_PTRACER = 0x59616D61


def serve() -> dict[str, Any] | None:
    """Answer requests; return one in the forked child that is to become the victim, None at the end."""
    for line in sys.stdin:
        request = json.loads(line)
        through, held = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(through)
            return {**request, "held": held}
        os.close(held)
        _answer({"pid": pid})
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert info is not None
        if request["tracer"]:
            os.read(through, 1)
        os.close(through)
        killed = info.si_code != os.CLD_EXITED
        _answer({"status": -info.si_status if killed else info.si_status})
        sys.stdin.readline()
        os.waitpid(pid, 0)
    return None


def warm_up() -> None:
    """Import what a workload needs, also what perdure itself only imports when a run begins."""
    for layer in ("core", "store", "engines.local", "engines.runtime", "alerts.channels", "api"):
        package = importlib.import_module(f"perdure.{layer}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in (
        *("asyncio", "concurrent.futures", "perdure.engines.selection", "perdure.catalogue"),
        *("perdure.alerts.run_alerts", "perdure.alerts.watchdog.client"),
    ):
        importlib.import_module(name)


def become(request: dict[str, Any]) -> None:
    """Turn this process into the victim: its own output, environment and folder, then its script or command."""
    quiet = os.open(os.devnull, os.O_RDONLY)
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(quiet, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(quiet)
    os.close(output)
    if request["tracer"]:
        be_traced(request["tracer"], request["held"])
    os.close(request["held"])
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    argv = request["argv"]
    if request["execute"]:
        os.execvp(argv[0], argv)
    sys.argv = argv
    sys.path[0] = str(os.path.dirname(argv[0]))
    runpy.run_path(argv[0], run_name="__main__")


def be_traced(tracer: list[str], held: int) -> None:
    """Begin who traces this process, as no child of it, and return when it does; `held` is open as long as it lives."""
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1))  # where only parents may trace
    victim, (hear, tell) = os.getpid(), os.pipe()
    if (middle := os.fork()) == 0:
        if (pid := os.fork()) == 0:
            os.set_inheritable(held, True)
            os.execvp(tracer[0], [*tracer, "-p", str(victim)])
        os.write(tell, str(pid).encode())
        os._exit(0)
    os.waitpid(middle, 0)
    pid = int(os.read(hear, 20))
    os.close(hear)
    os.close(tell)
    while not _tracer():
        os.kill(pid, 0)  # ProcessLookupError: it has ended


def _tracer() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("TracerPid:"))


def _answer(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    warm_up()
    gc.freeze()  # what is imported is no garbage: no victim looks for any in it, also not at its end
    if (job := serve()) is not None:
        end(status_of(partial(become, job)))
