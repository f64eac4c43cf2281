"""What the system and the standard library say of a thread: does it sleep, or has it been woken and is to go on?"""

from __future__ import annotations

import concurrent.futures
import gc
import os
import platform
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

_STATE = b"\nState:\t"
_SLEPT = b"\nvoluntary_ctxt_switches:\t"
_POOL = os.path.join(os.path.dirname(concurrent.futures.__file__), "thread.py")
_THREADING = threading.__file__
_WAITS = frozenset(("wait", "join", "_wait_for_tstate_lock"))
"""The functions of threading that wait: for a condition, and for the end of a thread."""
_FUTEX = {"x86_64": b"202", "aarch64": b"98", "arm64": b"98", "riscv64": b"98"}.get(platform.machine())
"""How Linux names the call in which a thread waits for a lock."""
_BOUND = 4
"""Which of its words is the time at which it ends."""
LOCKED_SECONDS = 0.001
"""So long a thread that waits for a lock without a bound may be about to hand the interpreter's lock over."""
ASLEEP_SECONDS = 0.015
"""So long a thread that sleeps may be waiting for the interpreter's lock: that wakes up every 5 ms."""
UNSEEN_LOOKS = 20
"""So many looks as well, where the system does not say whether a thread sleeps: who looks has run as often."""


_looking: Any = threading.RLock()  # a handler of a signal may look as well
_paused: list[bool] = []
"""Not empty: the garbage collector is off while a thread looks."""


def frames() -> dict[int, FrameType]:
    """The innermost frame of each thread.

    A collection meanwhile would hand the interpreter's lock over, by a callback of a weak reference, while CPython 3.11
    holds the one of its list of threads: a thread that starts then stops the process for good.
    """
    with _looking:
        if not gc.isenabled():
            return sys._current_frames()
        try:
            _paused.append(True)
            gc.disable()
            return sys._current_frames()
        finally:
            gc.enable()
            _paused.clear()


def _after_fork() -> None:
    _looking._at_fork_reinit()
    if _paused:  # another thread has looked, which is not here
        _paused.clear()
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def slept(native: int) -> int | None:
    """How often the thread has gone to sleep; -1 if it is not asleep now, None where the system does not say.

    A thread that waits for the interpreter's lock wakes up every few milliseconds, so its number grows. One that has
    been woken, and has not got a processor yet, is not asleep, nor is one that waits for a disk: it goes on by itself.
    """
    try:
        with open(f"/proc/self/task/{native}/status", "rb") as file:
            text = file.read()
    except OSError:
        return None
    state, count = text.find(_STATE), text.find(_SLEPT)
    if state < 0 or count < 0:
        return None
    if text[state + len(_STATE) : state + len(_STATE) + 1] in (b"R", b"D"):
        return -1
    start = count + len(_SLEPT)
    return int(text[start : text.index(b"\n", start)])


def processor_seconds(native: int) -> float | None:
    """How long the thread has run so far; None where the system does not say, or the thread has ended."""
    try:
        with open(f"/proc/self/task/{native}/schedstat", "rb") as file:
            return int(file.read().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def is_woken(frame: FrameType) -> bool:
    """Has a thread with this innermost frame been notified by a condition, and not gone on yet?"""
    if frame.f_code.co_name != "wait":
        return False
    names = frame.f_locals
    waiter: Any = names.get("waiter")
    if not hasattr(waiter, "locked"):
        return False
    waiters = getattr(names.get("self"), "_waiters", None)
    return not waiter.locked() or (waiters is not None and waiter not in waiters)


def waits_for_another(frame: FrameType) -> bool | None:
    """Does a thread with this innermost frame wait for another one, which has not let it go on yet?

    A lock does not say: the thread that is let go on has taken it again before it comes to run. Who waits for a
    condition is in the list of that, and who waits for the end of a thread does so while that is in the list of all.

    Returns:
        None if it is in none of the functions of `threading` that wait, or at the end of one: notified by a condition,
        it may have to wait for the lock of that.
    """
    code = frame.f_code
    if code.co_filename != _THREADING or code.co_name not in _WAITS:
        return None
    names = frame.f_locals
    if code.co_name == "wait":
        waiter, waiters = names.get("waiter"), getattr(names.get("self"), "_waiters", None)
        if waiter is None or waiters is None:
            return None
        if _starts_a_thread(frame):
            return False
        return True if waiter in waiters else None
    joined = names.get("self")
    return threading._active.get(getattr(joined, "ident", None)) is joined  # type: ignore[attr-defined]


def _starts_a_thread(frame: FrameType) -> bool:
    """One that starts a thread waits for that alone, and goes on by itself."""
    around = frame.f_back and frame.f_back.f_back
    return around is not None and around.f_code.co_name == "start" and around.f_code.co_filename == _THREADING


def takes_jobs(frame: FrameType) -> bool:
    """Is a thread with this innermost frame one of a pool, between two jobs?"""
    return frame.f_code.co_name == "_worker" and frame.f_code.co_filename == _POOL


def has_free_thread(pool: Any, frames: Mapping[int, FrameType]) -> bool:
    """Is there a thread of the pool that takes the next job by itself: one that is idle, begins, or prepares itself?"""
    for thread in list(getattr(pool, "_threads", ())):
        frame = frames.get(thread.ident)
        while frame is not None and not (frame.f_code.co_name == "run" and frame.f_code.co_filename == _POOL):
            frame = frame.f_back
        if frame is None and (thread.ident is None or thread.is_alive()):
            return True
    return False


class Sleepers:
    """Which threads sleep in something else than the functions of `threading` that wait: a lock, a socket, a pause.

    A thread that waits for the interpreter's lock sleeps as well, but never for long, and never without a bound. So one
    that waits for a lock without a bound sleeps if it has not woken up between two looks; of others that takes longer.
    """

    def __init__(self) -> None:
        self._since: dict[int, tuple[object, float, int]] = {}  # what each was seen in, when first, how often since

    def sleeps(self, native: int, frame: FrameType) -> bool:
        """Does the thread sleep, and not wait for the interpreter's lock?"""
        times = slept(native)
        if times == -1:
            self._since.pop(native, None)
            return False
        # Where the system says nothing, a thread that does not get any further is taken to sleep.
        seen: object = (id(frame), frame.f_lasti) if times is None else times
        now = time.monotonic()
        known, since, looks = self._since.get(native, (None, now, 0))
        if known != seen:
            self._since[native] = (seen, now, 0)
            return False
        self._since[native] = (seen, since, looks + 1)
        if now - since >= max(ASLEEP_SECONDS, 3 * sys.getswitchinterval()):
            return times is not None or looks >= UNSEEN_LOOKS
        return times is not None and now - since >= LOCKED_SECONDS and _waits_for_a_lock(native)

    def naps(self, native: int) -> bool:
        """Is it asleep at this moment, in a pause or at a socket?"""
        call = _syscall(native)
        return len(call) > 1 and call[0] != _FUTEX


def _waits_for_a_lock(native: int) -> bool:
    """Does it wait for a lock, without a bound?"""
    call = _syscall(native)
    return len(call) > _BOUND and call[0] == _FUTEX and call[_BOUND] == b"0x0"


def _syscall(native: int) -> list[bytes]:
    """The number and the arguments of the call of the system that the thread is in."""
    try:
        with open(f"/proc/self/task/{native}/syscall", "rb") as file:
            return file.read().split()
    except OSError:
        return []
