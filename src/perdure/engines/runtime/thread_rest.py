"""When the threads of a run have come to rest, so that what is still unclaimed has no branch that claims it.

A branch rests if it has ended, if it waits here too, or if its thread waits for others without a bound (`join`,
`result`, a queue). One that is on its way is waited for. If it does not come in `BUSY_SECONDS`, what it waits for may
be the branch that asks: that goes on then without being judged, as it does if all others wait for a free thread,
unless no call of its name has found a record.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from types import FrameType
from typing import Any, NamedTuple

from perdure.core.execution.branch import Branch
from perdure.core.execution.spec import Call
from perdure.engines.runtime import thread_states
from perdure.engines.runtime.thread_branches import ThreadTask
from perdure.engines.runtime.thread_states import has_free_thread, is_woken, slept

LOOK_SECONDS = 0.01
BUSY_SECONDS = 30.0
SAY_SECONDS = 2.0
"""After so long on one that is on its way, a line says so: whether C code waits for another thread cannot be known."""
SHOWN = 3
"""Threads that the line names."""
REST_LOOKS = 25
"""So many looks in a row have to find rest: a thread that was woken up may not have come to run yet."""
LOOP_LOOKS = 3
"""The same where the event loop of the run looks; none of the threads may have gone to sleep anew in between."""

_LIBRARY = os.path.dirname(threading.__file__) + os.sep
_WAITING = tuple(
    os.path.join(_LIBRARY, *name.split("/"))
    for name in ("threading.py", "queue.py", "selectors.py", "concurrent/futures/", "multiprocessing/", "asyncio/")
)
"""Where a thread is that waits for another: the code of the standard library around a lock."""
_LOOP = tuple(os.path.join(_LIBRARY, name) for name in ("selectors.py", "asyncio"))


class Rest(NamedTuple):
    """What the event loop of a run has seen of its threads that rest, when last, and in how many looks in a row."""

    seen: object
    at: float
    looks: int


class State(Enum):
    """What a branch is at."""

    RESTS = auto()
    QUEUED = auto()
    """It waits for a free thread of a pool."""
    MOVES = auto()
    WORKS = auto()
    """It executes a step, which will end."""


def settle(scope: Any, call: Call) -> tuple[Call, ...] | None:
    """Let the other branches claim what is theirs, until none has for a while or nothing is left to claim.

    Args:
        scope: the run.
        call: what the current branch asks for.

    Returns:
        The calls of all branches that have come to rest; None if that cannot be known, and this one is to go on.

    Raises:
        StopRun: another branch came to rest first, and has stopped the run.
    """
    with _settling(scope, call):
        looks = _looks(scope, call.spec.name)
        while (rested := next(looks)) is None:
            time.sleep(LOOK_SECONDS)  # threads run in real time, whatever the clock of the runs is
        return _answer(scope, rested)


async def settle_in_loop(scope: Any, call: Call, order: Any) -> tuple[Call, ...] | None:
    """The same in a loop that the workflow runs itself, and whose events have that order."""
    import asyncio

    from perdure.engines.runtime.workflow_timers import own_timers

    with _settling(scope, call):
        await order.rest(call.spec.name)
        scope.refuse_if_over()
        looks = _looks(scope, call.spec.name) if others(scope, order) else iter([True])
        with own_timers(), order.parked():
            while (rested := next(looks)) is None:
                await asyncio.sleep(LOOK_SECONDS)
        return _answer(scope, rested)


@contextmanager
def _settling(scope: Any, call: Call) -> Iterator[None]:
    entry = (call, scope.branch())
    with scope.deciding:
        scope.settling.append(entry)
    scope.wake_loop()
    try:
        yield
    finally:
        with scope.deciding:
            scope.settling.remove(entry)


def _answer(scope: Any, rested: bool) -> tuple[Call, ...] | None:
    scope.check()
    with scope.deciding:
        return tuple(call for call, _ in scope.settling) if rested else None


def _looks(scope: Any, name: str) -> Iterator[bool | None]:
    """Have the others come to rest? None as long as that is not decided."""
    history = scope.history
    seen, looks, waited, said = history.claims, 0, 0.0, False
    asleep: dict[int, int] = {}
    while history.unsettled(name) and scope.stopped is None:
        yield None
        before = asleep
        state, asleep = _busiest(scope)
        if history.claims != seen:
            seen, looks, waited = history.claims, 0, 0.0
        if state is not State.WORKS and any(before.get(thread, times) != times for thread, times in asleep.items()):
            state = State.MOVES  # it has woken up in between
        if state in (State.RESTS, State.QUEUED):
            looks += 1
            if looks >= REST_LOOKS:
                # Jobs that wait for a free thread may have the records; if none fits so far, the script was edited.
                yield state is State.RESTS or not history.matched(name)
        else:
            looks = 0
            waited = 0.0 if state is State.WORKS else waited + LOOK_SECONDS
            if waited >= SAY_SECONDS and not said:
                said = True
                scope.notify_waiting(_reason(scope))
            if waited >= BUSY_SECONDS:
                yield False
    yield True


def _busiest(scope: Any) -> tuple[State, dict[int, int]]:
    """What the busiest of the other branches is at; and how often each thread that rests has gone to sleep."""
    if scope.executing:
        return State.WORKS, {}
    with scope.deciding:
        settling = {branch for _, branch in scope.settling if branch is not None}
        living = [branch for branch in scope.main.living if branch not in settling]
    return _worst(scope, living, settling)


def _reason(scope: Any) -> str:
    """What a new call waits for."""
    with scope.deciding:
        idents = {branch.task.ident for branch in scope.main.living if isinstance(branch.task, ThreadTask)}
    frames = [frame for ident, frame in thread_states.frames().items() if ident in idents and not waits(frame)]
    where = ", ".join(f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in frames[:SHOWN])
    return (
        f"a thread is between its steps{where and f' ({where})'}, and its next call is compared with the records "
        f"before anything new is executed; after {BUSY_SECONDS:.0f} s it is taken to wait for other threads"
    )


def _worst(scope: Any, living: list[Branch], settling: set[Branch]) -> tuple[State, dict[int, int]]:
    """What the busiest of these branches is at, beside those that settle; and how often those that rest have slept."""
    at = _Surroundings(living, settling)
    states = {_state(scope, branch, at) for branch in living}
    worst = next((state for state in (State.WORKS, State.MOVES, State.QUEUED) if state in states), State.RESTS)
    return worst, at.asleep


class _Surroundings:
    """What is known of all branches: the frames of the threads, and who waits for whom, as far as that can be seen."""

    def __init__(self, living: list[Branch], settling: set[Branch]) -> None:
        undone = [branch for branch in living if not branch.done()]
        self.asleep: dict[int, int] = {}
        self.frames = thread_states.frames()
        self.starters = _ancestors(settling)
        self.starters |= {branch.parent for branch in undone if isinstance(branch.task, ThreadTask)}
        self.runs_loop = {branch.parent for branch in [*undone, *settling] if not isinstance(branch.task, ThreadTask)}


def _ancestors(branches: Iterable[Branch | None]) -> set[Branch | None]:
    found: set[Branch | None] = set()
    for branch in branches:
        while branch is not None and branch not in found:
            found.add(branch)
            branch = branch.parent
    return found


def starters(scope: Any) -> set[Any]:
    """What carries the branches that have started a thread which has not ended."""
    threads = [each for each in list(scope.main.living) if isinstance(each.task, ThreadTask) and not each.done()]
    return {each.parent.task for each in threads if each.parent is not None}


def others(scope: Any, order: Any) -> list[Branch]:
    """The branches that are neither tasks of the loop whose events have that order, nor the one that runs it."""
    with scope.deciding:
        living = list(scope.main.living)
    return [one for one in living if one is not order.line and not order.is_mine(one.task) and not one.done()]


def working(scope: Any, order: Any) -> bool:
    """Is a thread of the run, or another loop, on its way to a call, so that the loop with that order waits for it?"""
    with scope.deciding:
        settling = {branch for _, branch in scope.settling if branch is not None}
    living = [branch for branch in others(scope, order) if branch not in settling]
    if order is scope.order:  # whose turn it is, that loop says
        living = [one for one in living if not isinstance(one.task, ThreadTask) or not one.task.turns]
    state, asleep = _worst(scope, living, settling) if living else (State.RESTS, {})
    if state is not State.RESTS or not asleep:
        order.looked = None
        return state is not State.RESTS
    rest: Rest | None = order.looked
    seen, now = (scope.history.claims, asleep), time.monotonic()
    if rest is None or seen != rest.seen:
        rest = Rest(seen, now, 1)
    elif now - rest.at >= LOOK_SECONDS:
        rest = Rest(seen, now, rest.looks + 1)
    order.looked = rest
    return rest.looks < LOOP_LOOKS


def all_rest(scope: Any, inner: Collection[int]) -> dict[int, int] | None:
    """Do all threads of the run rest, those in durable waits included? How often each that rests has gone to sleep.

    Args:
        scope: the run.
        inner: the threads that execute child runs, which answer for themselves.
    """
    if scope.executing:
        return None
    with scope.deciding:
        living = [branch for branch in scope.main.living if getattr(branch.task, "ident", None) not in inner]
        settling = bool(scope.settling)
    if any(order.goes_on_by_itself() for order in list(scope.orders.values())):
        return None
    state, asleep = _worst(scope, living, set())
    return None if settling or state is not State.RESTS else asleep


def _state(scope: Any, branch: Branch, at: _Surroundings) -> State:
    task = branch.task
    if task.done() or branch in scope.parked:
        return State.RESTS
    if not isinstance(task, ThreadTask):
        # A task of an event loop: one that has started a branch which rests, or a thread, waits for that.
        return State.RESTS if branch in at.starters or _waits_in_loop(scope, task) else State.MOVES
    if task.ident == threading.get_ident():
        return State.RESTS  # it looks, between what the tasks of its loop do
    if task.ident is None:
        return State.MOVES if task.pool is None or has_free_thread(task.pool, at.frames) else State.QUEUED
    if task.calls:
        return State.WORKS
    frame = at.frames.get(task.ident)
    if frame is None:
        return State.MOVES
    if branch in at.runs_loop and in_loop(frame):
        return State.RESTS  # its tasks are branches of their own
    woken = is_woken(frame)
    if not woken and not waits(frame):
        return State.MOVES
    times = None if task.native is None else slept(task.native)
    if woken and times is None:  # it may wait for the lock of its condition, if the system says that it sleeps
        return State.MOVES
    if times is not None and task.native is not None:
        at.asleep[task.native] = times
    return State.MOVES if times == -1 else State.RESTS


def in_loop(frame: FrameType) -> bool:
    """Does the thread with this innermost frame run an event loop, which has nothing to do?"""
    return frame.f_code.co_filename.startswith(_LOOP)


def waits(frame: FrameType) -> bool:
    """Does the thread with this innermost frame wait for another thread, without a bound of its own?"""
    if not frame.f_code.co_filename.startswith(_WAITING):
        return False
    timeout = frame.f_locals.get("timeout")
    return timeout is None or not isinstance(timeout, int | float) or timeout < 0


def _waits_in_loop(scope: Any, task: Any) -> bool:
    """Does a task of the workflow wait for something of the workflow's own, and does its loop bring that about?"""
    order = scope.order_of(task.get_loop())
    if order is None:
        return False
    try:
        return bool(order.is_quiet() and order.task_rests(task))
    except RuntimeError:  # it has gone on meanwhile
        return False
