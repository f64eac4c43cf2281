"""Threads that only wait for what a run that is over was to bring: neither the run nor its process waits for them.

What stops a run (it is cancelled or suspended, its time is over, its script was edited) reaches each thread at its next
call, and what it is broken off by or fails with refuses that call. Either ends the thread. One that waits for what that
thread was to bring (in a queue, at an event) would wait for ever then, and so would who waits for that thread: the run
itself if it was stopped, a loop that ends its executor, the end of the process. When all of them do nothing but wait,
they are left where they do.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from perdure.config.script_identity import point_out
from perdure.engines.runtime import thread_branches, thread_states
from perdure.engines.runtime.thread_branches import OURS, ThreadTask
from perdure.engines.runtime.thread_rest import in_loop, waits
from perdure.engines.runtime.thread_states import is_woken, takes_jobs, waits_for_another
from perdure.errors import StopRun, UsageError

LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 0.5
"""Between two looks at threads that go on by themselves: one may do so for as long as the process lives."""
LOOKS = 3
"""In so many looks in a row all of them wait: one that has been woken up may not have come to run yet."""
LOOKS_AFTER_A_FAILURE = 50
"""As many where the run is not waited for: they may tidy up with the help of threads that are none of the run's."""
SAY_SECONDS = 2.0
"""After so long a line says which threads the process waits for."""
SHOWN = 3

_left: list[ThreadTask] = []
_registered: list[bool] = []
"""Not empty: the end of the process looks at those."""


_ending: list[bool] = []
"""Not empty: the process ends, and says what it waits for."""


class _Left(StopRun):
    """What a thread is left by where it waits. It is made by the interpreter, which gives it nothing."""

    def __init__(self) -> None:
        super().__init__(UsageError("the run that this thread belongs to was left", "run the script again to go on"))


def leave_waiting(scope: Any) -> None:
    """The run was stopped: see that its threads do not wait for each other for ever, nor its function for them."""
    _start_watching(scope, LOOKS)


def _start_watching(scope: Any, most: int) -> None:
    name = f"{OURS}-left-{scope.id}"
    threading.Thread(target=_watch, args=(scope, most), name=name, daemon=True).start()


def _watch(scope: Any, most: int) -> None:
    looks, pause, began, said = 0, LOOK_SECONDS, time.monotonic(), False
    while tasks := _undone(scope):
        at = _waiting(tasks)
        looks, pause = (looks + 1, LOOK_SECONDS) if at else (0, min(pause * 1.1, LONGEST_LOOK_SECONDS))
        if looks >= most:
            looks = 0
            for task, frame in at:
                _leave(task, frame)
        if not (said or _ending) and time.monotonic() - began >= SAY_SECONDS and (going := _own_code(tasks)):
            said = True
            point_out(f"run {scope.id} was left, and {_where(going)} of it goes on; its process ends only after that")
        time.sleep(pause)


def _own_code(tasks: Collection[ThreadTask]) -> list[tuple[ThreadTask, FrameType]]:
    """Where those are that execute code of the user's and keep the process from ending."""
    frames = thread_states.frames()
    at = [(task, frames.get(task.ident or 0)) for task in tasks if task.thread is None or not task.thread.daemon]
    own = [(task, frame) for task, frame in at if frame is not None and not in_loop(frame) and not _is_ours(frame)]
    return [(task, frame) for task, frame in own if not task.calls]


def _undone(scope: Any) -> list[ThreadTask]:
    """The threads that execute code of a run, that of its function among them until it is over."""
    with scope.deciding:
        tasks = {each.task for each in scope.main.living if isinstance(each.task, ThreadTask) and not each.done()}
    return [*(tasks - {scope.line}), *([] if scope.closed else [scope.line])]


def _waiting(tasks: Collection[ThreadTask]) -> list[tuple[ThreadTask, FrameType]]:
    """Where they are, if each of them waits in its own code for another one; else nothing."""
    frames = thread_states.frames()
    begun = [task for task in tasks if task.ident is not None or task.pool is None]
    at = [(task, frames.get(task.ident or 0)) for task in begun]
    found = [(task, frame) for task, frame in at if frame is not None and not task.calls and not _is_ours(frame)]
    waiting = len(found) == len(begun) and all(_is_stuck(frame) or in_loop(frame) for _, frame in found)
    return found if waiting else []


def _is_ours(frame: FrameType) -> bool:
    """Is it perdure that waits there? Then it goes on by itself."""
    name = _caller(frame).f_code.co_filename
    # Below what a thread executes stands what carries it: there is nothing of the user's between, as in Thread(q.get).
    return not in_loop(frame) and name.startswith(_PERDURE) and name != thread_branches.__file__


def left_behind(scope: Any, tasks: Collection[ThreadTask]) -> None:
    """See that nothing waits for ever for these threads of a run that was left: no loop, and no end of a process."""
    if scope.stopped is None:  # else it is seen to already
        with suppress(RuntimeError):  # the process ends, or can have no more threads
            _start_watching(scope, LOOKS_AFTER_A_FAILURE)
    started = (task for task in tasks if task.thread is not None or task.pool is not None)
    _left[:] = [task for task in (*_left, *started) if not task.done()]
    register = getattr(threading, "_register_atexit", None)
    if _left and not _registered and register is not None:
        with suppress(RuntimeError):  # the process ends already
            register(_at_exit)
        _registered.append(True)


def _at_exit() -> None:
    _ending.append(True)
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
    frames = thread_states.frames()
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
    point_out(f"the process waits for {_where(at)} of a run that was left; Ctrl-C ends it now")


def _where(at: list[tuple[ThreadTask, FrameType]]) -> str:
    places = ", ".join(_place(frame) for _, frame in at[:SHOWN])
    return f"{'a thread' if len(at) == 1 else f'{len(at)} threads'} ({places})"


def _place(frame: FrameType) -> str:
    """Where in code of the user's a thread is."""
    found = _caller(frame)
    return f"{found.f_code.co_filename}:{found.f_lineno}"


def _caller(frame: FrameType) -> FrameType:
    """What has called the functions of the standard library that it is in."""
    at: FrameType | None = frame
    while at is not None and at.f_code.co_filename.startswith(_LIBRARY):
        at = at.f_back
    return at or frame


_LIBRARY = threading.__file__.rpartition("threading.py")[0]
_PERDURE = f"{Path(__file__).parents[2]}{os.sep}"
