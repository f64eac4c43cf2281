"""What the system and the standard library say of a thread: does it sleep, or has it been woken and is to go on?"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping
from types import FrameType
from typing import Any

_STATE = b"\nState:\t"
_SLEPT = b"\nvoluntary_ctxt_switches:\t"
_POOL = os.path.join(os.path.dirname(concurrent.futures.__file__), "thread.py")


def slept(native: int) -> int | None:
    """How often the thread has gone to sleep; -1 if it is not asleep now, None where the system does not say.

    A thread that waits for the interpreter's lock wakes up every few milliseconds, so its number grows. One that has
    been woken, and has not got a processor yet, is not asleep.
    """
    try:
        with open(f"/proc/self/task/{native}/status", "rb") as file:
            text = file.read()
    except OSError:
        return None
    state, count = text.find(_STATE), text.find(_SLEPT)
    if state < 0 or count < 0:
        return None
    if text[state + len(_STATE) : state + len(_STATE) + 1] == b"R":
        return -1
    start = count + len(_SLEPT)
    return int(text[start : text.index(b"\n", start)])


def is_woken(frame: FrameType) -> bool:
    """Has a thread with this innermost frame been notified by a condition, and not gone on yet?"""
    if frame.f_code.co_name != "wait":
        return False
    waiter: Any = frame.f_locals.get("waiter")
    return hasattr(waiter, "locked") and not waiter.locked()


def has_free_thread(pool: Any, frames: Mapping[int, FrameType]) -> bool:
    """Is there a thread of the pool that takes the next job by itself: one that is idle, begins, or prepares itself?"""
    for thread in list(getattr(pool, "_threads", ())):
        frame = frames.get(thread.ident)
        while frame is not None and not (frame.f_code.co_name == "run" and frame.f_code.co_filename == _POOL):
            frame = frame.f_back
        if frame is None and (thread.ident is None or thread.is_alive()):
            return True
    return False
