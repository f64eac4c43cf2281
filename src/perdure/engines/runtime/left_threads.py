"""Threads that a run leaves behind when it is broken off or fails: the process does not wait for them for ever.

Their next call of the run is refused, which ends them. One that waits for what another was to bring (in a queue, at an
event) would wait for ever then, and so would the process, which ends when its threads have. When they do nothing but
wait, as the process ends, they are left as the run was.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from types import FrameType
from typing import Any

from perdure.config.script_identity import point_out
from perdure.engines.runtime.thread_branches import ThreadTask
from perdure.engines.runtime.thread_rest import waits
from perdure.engines.runtime.thread_states import is_woken, takes_jobs, waits_for_another
from perdure.errors import StopRun, UsageError

LOOK_SECONDS = 0.02
LOOKS = 3
"""In so many looks in a row all of them wait: one that has been woken up may not have come to run yet."""
SAY_SECONDS = 2.0
"""After so long a line says which threads the process waits for."""
SHOWN = 3

_left: list[ThreadTask] = []
_registered: list[bool] = []
"""Not empty: the end of the process looks at those."""


class _Left(StopRun):
    """What a thread is left by where it waits. It is made by the interpreter, which gives it nothing."""

    def __init__(self) -> None:
        super().__init__(UsageError("the run that this thread belongs to was left", "run the script again to go on"))


def left_behind(tasks: Collection[ThreadTask]) -> None:
    """See that the end of the process does not wait for these for ever, which belong to a run that was left."""
    started = (task for task in tasks if task.thread is not None or task.pool is not None)
    _left[:] = [task for task in (*_left, *started) if not task.done()]
    register = getattr(threading, "_register_atexit", None)
    if _left and not _registered and register is not None:
        with suppress(RuntimeError):  # the process ends already
            register(_at_exit)
        _registered.append(True)


def _at_exit() -> None:
    looks, began, said = 0, time.monotonic(), False
    while at := _alive():
        looks = looks + 1 if all(_is_stuck(frame) for _, frame in at) else 0
        if looks >= LOOKS:
            looks = 0
            going = [_leave(task, frame) for task, frame in at]
            if not any(going):
                return _say(at)
        if not said and time.monotonic() - began >= SAY_SECONDS:
            said = True
            _say(at)
        time.sleep(LOOK_SECONDS)
    return None


def _alive() -> list[tuple[ThreadTask, FrameType]]:
    """Those that the end of the process waits for, and where they are."""
    frames = sys._current_frames()
    undone = [task for task in _left if not task.done() and (task.thread is None or not task.thread.daemon)]
    at = [(task, frames.get(task.ident or 0)) for task in undone]
    # A thread of a pool that takes jobs is ended with that.
    return [(task, frame) for task, frame in at if frame is not None and not takes_jobs(frame)]


def _is_stuck(frame: FrameType) -> bool:
    return waits(frame) and not is_woken(frame) and bool(waits_for_another(frame))


def _leave(task: ThreadTask, frame: FrameType) -> bool:
    """Let the thread go on where it waits for a condition, and be left there; False if it waits for a thread's end."""
    waiter: Any = frame.f_locals.get("waiter")
    if task.ident is None or not hasattr(waiter, "release"):
        return False
    try:
        import ctypes
    except ImportError:  # Python was built without it
        return False
    left = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(task.ident), ctypes.py_object(_Left))
    with suppress(RuntimeError):  # it has been notified meanwhile
        waiter.release()
    return bool(left)


def _say(at: list[tuple[ThreadTask, FrameType]]) -> None:
    where = ", ".join(_place(frame) for _, frame in at[:SHOWN])
    many = "a thread" if len(at) == 1 else f"{len(at)} threads"
    point_out(f"the process waits for {many} of a run that was left ({where}); Ctrl-C ends it now")


def _place(frame: FrameType) -> str:
    """Where in code of the user's a thread is."""
    at: FrameType | None = frame
    while at is not None and at.f_code.co_filename.startswith(_LIBRARY):
        at = at.f_back
    found = at or frame
    return f"{found.f_code.co_filename}:{found.f_lineno}"


_LIBRARY = threading.__file__.rpartition("threading.py")[0]
