"""The order in which the threads of a workflow see what their calls come to: that of the records, in each life.

Which future is done first, and what lies in a queue, decides what a workflow calls next. So one call at a time returns
to the workflow: the one with the lowest number, when all other threads have come to rest after the one before. A
resumed run reads the same records, lets them come in the same order, and finds its threads where they were.

A thread rests if it waits here too, executes a step, or waits for another thread, which its innermost frame says; what
else it sleeps in, the system says (`thread_states`). One that goes on is not waited for without an end
(`moving_threads`).

The event loop that executes an async workflow is one more thread: what comes to its tasks and what comes to threads is
one order, and the loop says whose turn it is (`event_order`). While a task keeps it, in a sync step or in a wait for a
thread, the threads say so themselves, as in a sync workflow. A loop that the workflow or a thread of it runs itself
waits for its turn as threads do, with what comes to its tasks next (`loop_among_threads`).
"""

from __future__ import annotations

import os
from bisect import insort
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, get_ident
from types import FrameType
from typing import Any, Protocol

from perdure.engines.runtime import thread_states
from perdure.engines.runtime.moving_threads import Moving, Seen
from perdure.engines.runtime.thread_branches import ThreadTask
from perdure.engines.runtime.thread_states import Sleepers, takes_jobs, waits_for_another

SHORTEST_LOOK, LONGEST_LOOK = 0.00002, 0.002
"""Between two looks, if nothing is noted meanwhile. A thread that waits for the interpreter's lock may get it."""
HEAD_SECONDS = 0.05
"""So often it is looked at what is said by those whom it is about."""

_OURS = f"{Path(__file__).parents[2]}{os.sep}"


class LoopBeside(Protocol):
    """A loop that the workflow or a thread of it runs, as other threads see it."""

    @property
    def is_kept(self) -> bool:
        """Was it seen that a task keeps it, in a sync step or in a wait for a thread?"""

    def look_whether_kept(self) -> bool:
        """Does one?"""

    def seen(self) -> int:
        """How often it has looked what comes next: it goes on."""

    def wake(self) -> None:
        """It may be its turn now."""

    def rests_beside(self, seq: float, frame: FrameType, native: int | None) -> bool:
        """Has it come to rest, with nothing that comes before that place? Its thread has that innermost frame."""


class Waiting:
    """A call that has come to its end, and that its thread has not seen; or what a loop is to see next (`loop`)."""

    __slots__ = ("given", "loop", "seq", "task", "turn")

    def __init__(self, seq: float, task: ThreadTask, loop: LoopBeside | None = None) -> None:
        self.seq = seq
        self.task = task
        self.loop = loop
        self.given = False
        self.turn = Lock()
        self.turn.acquire()

    def __lt__(self, other: Waiting) -> bool:
        return self.seq < other.seq

    def wake(self) -> None:
        """Let it be looked whether it has to wait any longer."""
        if self.loop is not None:
            self.loop.wake()
        elif self.turn.locked():
            self.turn.release()


class ThreadTurns:
    """The threads of one run, and the calls that wait for their turn.

    Args:
        scope: the run.
        line: the thread that executes the workflow's function, or the loop that does.
    """

    def __init__(self, scope: Any, line: ThreadTask) -> None:
        self._scope = scope
        self._line = line
        self.threads: set[ThreadTask] = {line}  # that execute code of the run, or are about to
        self._lock = Lock()
        self._queue: list[Waiting] = []
        self.loops: dict[int, LoopBeside] = {}  # that threads run, the line of a sync workflow too
        self._jobs: dict[Any, set[ThreadTask]] = {}  # by the pool, those that no thread has begun
        self._sleepers = Sleepers()
        self._passed_over: dict[ThreadTask | int, int] = {}  # those that are not waited for, until they make more calls
        self.held_up = False  # something waits in the loop for threads to come to rest
        self._kept_at = -1  # how often the loop had looked when a task of its was seen to keep it

    # -- who takes part -----------------------------------------------------------------------------------------------

    def add(self, task: ThreadTask) -> None:
        """A thread is to be started, or a pool is given a job."""
        if task.pool is None:
            self.threads.add(task)
        else:
            self._jobs.setdefault(task.pool, set()).add(task)

    def thread(self, ident: int) -> ThreadTask | None:
        """The one of that number, of those that take part."""
        return next((task for task in list(self.threads) if task.ident == ident and not task.ended), None)

    def job_begins(self, task: ThreadTask) -> None:
        """A thread of its pool has taken the job."""
        self.threads.add(task)  # before it is taken from where it was: it is never in neither
        self._jobs[task.pool].discard(task)
        if self._passed_over and task.native is not None:
            self._passed_over.pop(task.native, None)

    def job_ends(self, task: ThreadTask) -> None:
        """The function of a thread or job is over. Its thread hands on what has come of it."""
        if task.pool is not None:
            self.threads.discard(task)
        self._passed_over.pop(task, None)
        self.look()

    # -- what a call comes to -----------------------------------------------------------------------------------------

    def place(self, task: ThreadTask, seq: int) -> None:
        """The call that the thread is in comes to its end with the record of that number, or a later one."""
        if task.maps and not (task.drawing and get_ident() == task.ident):
            return  # of an item: the map has a place of its own
        task.place = max(task.place, seq)

    @contextmanager
    def map(self, items: Any) -> Iterator[ThreadTask]:
        """The current thread makes a map, which ends after the last of its items."""
        task: ThreadTask = self._scope.thread_here()
        drawing, task.drawing = task.drawing, False
        task.maps += 1
        try:
            yield task
        finally:
            failed = 0 if items.failed is None else items.failed[0].seq
            task.place = max(task.place, items.tally.last(), failed)
            task.maps -= 1
            task.drawing = drawing

    def drawing(self, task: ThreadTask, calls: Iterator[Any]) -> Iterator[Any]:
        """The calls of a map, as the workflow hands them out: code of its own, which may wait for other threads."""
        while True:
            task.drawing = True
            try:
                call = next(calls, self)
            finally:
                task.drawing = False
            if call is self:
                return
            yield call

    def come(self, task: ThreadTask) -> None:
        """A call of that thread has ended, and its record is durable: wait for its turn."""
        seq, task.place = task.place, 0
        if not seq or self.is_over():
            return
        mine = Waiting(seq, task)
        try:
            self.queue_up(mine)
            self.look()
            self._wait(mine)
        finally:
            self.step_up(mine)
            self.look()

    def queue_up(self, one: Waiting) -> None:
        """It is to have its turn."""
        with self._lock:
            one.task.turns += one.loop is None
            insort(self._queue, one)

    def step_up(self, one: Waiting) -> None:
        """It does not wait any more."""
        with self._lock:
            if not one.given:
                self._let_go(one)

    def give(self, seq: float) -> bool:
        """It is the turn of the call with that number: the loop says so. False if it does not wait any more."""
        with self._lock:
            for one in self._queue:
                if one.seq == seq:
                    self._let_go(one)
                    one.wake()
                    return True
        return False

    def places(self) -> list[float]:
        """The numbers of the calls that wait for their turn, the lowest first."""
        return [one.seq for one in list(self._queue)]

    def first(self) -> float | None:
        """The lowest of them."""
        for one in self._queue[:1]:
            return one.seq
        return None

    def look(self) -> None:
        """Something has changed: the next call may have to wait no longer."""
        order = self._scope.order
        if order is not None:
            if self.held_up and get_ident() != self._line.ident:
                self.held_up = False
                order.poke_from_thread()
            if self.loop_gives():
                return
        if self._queue:
            with self._lock:
                for one in self._queue:
                    one.wake()
                    if one.loop is None or not one.loop.is_kept:
                        break

    def wake(self) -> None:
        """All that wait are to look whether they still have to."""
        with self._lock:
            for one in self._queue:
                one.wake()

    def _let_go(self, one: Waiting) -> None:
        one.given = True
        one.task.turns -= one.loop is None
        self._queue.remove(one)

    def is_over(self) -> bool:
        """Nothing is left to wait for."""
        scope = self._scope
        over: bool = scope.closed or scope.forked or scope.stopped is not None
        return over or (scope.order is not None and scope.order.is_closed())

    def is_first(self, mine: Waiting) -> bool:
        """Does nobody wait before it, but loops that a task of theirs keeps from going on?"""
        with self._lock:
            before = self._queue[: self._queue.index(mine)] if not mine.given else []
        return all(one.loop is not None and one.loop.look_whether_kept() for one in before)

    def _wait(self, mine: Waiting) -> None:
        seen: Seen = {}
        pause = SHORTEST_LOOK
        while not mine.given and not self.is_over():
            if self.loop_gives():
                self._wait_for_loop(mine)
                continue
            if not self.is_first(mine):
                mine.turn.acquire(timeout=HEAD_SECONDS)
                seen, pause = {}, SHORTEST_LOOK
                continue
            moving = self.moving(mine.seq, seen, mine.task)
            if not moving:
                if self.is_first(mine):  # one that was on its way may have come to wait before it
                    return
                continue
            # What is being saved says when that has come further.
            silent = any(isinstance(one, int) or not one.place for one in moving)
            if mine.turn.acquire(timeout=pause if silent else HEAD_SECONDS):
                pause = SHORTEST_LOOK
            else:
                pause = min(2 * pause, LONGEST_LOOK)

    def loop_gives(self) -> bool:
        """Does the loop that executes the workflow come to look, and say whose turn it is?"""
        order = self._scope.order
        return order is not None and not self._line.calls and order.looks != self._kept_at

    def _wait_for_loop(self, mine: Waiting) -> None:
        order = self._scope.order
        looks = order.looks
        order.poke_from_thread()
        if mine.turn.acquire(timeout=HEAD_SECONDS) or order.looks != looks or self._line.ident is None:
            return
        frame = thread_states.frames().get(self._line.ident)
        if frame is not None and self.is_kept(frame, self._line.native):
            self._kept_at = looks

    def is_kept(self, frame: FrameType, native: int | None) -> bool:
        """Does a thread that runs a loop rest with this innermost frame, outside of the loop's and of our own code?"""
        ours = frame.f_code.co_filename.startswith(_OURS)  # such as a commit
        return not ours and self._rests_outside(frame, native)

    # -- who is on the way --------------------------------------------------------------------------------------------

    def moving(self, seq: float, seen: Seen, but: ThreadTask | None = None) -> dict[ThreadTask | int, int]:
        """The threads that are on their way, and are to be waited for.

        Args:
            seq: the place whose turn may come; a thread that saves what comes after it is not waited for.
            seen: since when each was seen to be on its way.
            but: who asks; the line of the workflow if it is its loop.

        Returns:
            How many calls each has made.
        """
        moving = self._moving(seq, self._line if but is None else but)
        for one, called in moving.items():
            since = seen.get(one)
            if since is None or since.called != called:
                seen[one] = Moving(one if isinstance(one, int) else one.native, called)
            elif since.for_too_long(
                self._sleepers,
                in_call=not isinstance(one, int) and one.calls > 0 and not one.drawing,
                in_loop=not isinstance(one, int) and one.ident in self.loops,
            ):
                self._passed_over[one] = called
        return moving

    def _moving(self, seq: float, but: ThreadTask) -> dict[ThreadTask | int, int]:
        moving: dict[ThreadTask | int, int] = {}
        inside: set[int | None] = {but.ident}
        # Threads go on meanwhile. What takes part is looked at before the frames, so that a job that begins has the
        # frame of that, and after them, for what a thread has started that rests by now.
        under_way = {pool: self._is_under_way(pool, jobs) for pool, jobs in list(self._jobs.items())}
        tasks = set(self.threads)
        frames = thread_states.frames()
        for task in tasks:
            if task is but:
                continue
            inside.add(task.ident)
            if self._passed_over and self._passed_over.get(task) == self._called(task):
                continue
            if self._has_ended(task, frames):
                self.threads.discard(task)
            elif not self._rests(task, seq, frames):
                moving[task] = self._called(task)
        moving |= {task: self._called(task) for task in list(self.threads) if task not in tasks}
        for pool, jobs in list(self._jobs.items()):
            has_jobs = under_way.get(pool, True) or self._is_under_way(pool, jobs)
            self._look_at_pool(pool, has_jobs, frames, inside, moving)
        return moving

    def _called(self, task: ThreadTask) -> int:
        """How many calls it has made; of one that runs a loop, also how often that has gone on."""
        loop = self.loops.get(task.ident or 0)
        return task.called if loop is None else task.called + loop.seen()

    def _has_ended(self, task: ThreadTask, frames: Mapping[int, FrameType]) -> bool:
        """Is the thread over, so that those who wait for its end go on by themselves?"""
        if task.ident is None or task.calls:
            return False
        if task.thread is not None:
            return task.ended and not task.thread.is_alive()
        return task.ident not in frames and task.ident not in thread_states.frames()  # it may have begun since

    def _rests(self, task: ThreadTask, seq: float, frames: Mapping[int, FrameType]) -> bool:
        if task.calls and (task.turns or task.blocked or task.place > seq):
            return True
        if task.calls and not (task.drawing and task.maps):
            return False
        frame = None if task.ident is None else frames.get(task.ident)
        if frame is None or task.ident is None:
            return False
        loop = self.loops.get(task.ident)
        return self._rests_outside(frame, task.native) if loop is None else loop.rests_beside(seq, frame, task.native)

    def _rests_outside(self, frame: FrameType, native: int | None) -> bool:
        """Does a thread that is in no call rest, with this innermost frame?"""
        rests = waits_for_another(frame)
        if rests is None:
            rests = takes_jobs(frame) or (native is not None and self._sleepers.sleeps(native, frame))
        return rests

    def _is_under_way(self, pool: Any, jobs: set[ThreadTask]) -> bool:
        """Is a job in the queue of the pool, or on its way from there to the thread that has taken it?"""
        if pool._work_queue.qsize():
            return True
        if jobs:
            jobs -= {job for job in list(jobs) if job.done()}  # cancelled, or refused by the pool
        return bool(jobs)

    def _look_at_pool(
        self,
        pool: Any,
        has_jobs: bool,
        frames: Mapping[int, FrameType],
        inside: set[int | None],
        moving: dict[ThreadTask | int, int],
    ) -> None:
        """Add the threads that are about to begin a job, or still hand on what one has come to."""
        for thread in list(pool._threads):
            if thread.ident in inside or thread.native_id in self._passed_over:
                continue
            frame = frames.get(thread.ident)
            if frame is None:
                rests = thread.ident is not None and not thread.is_alive()
            elif takes_jobs(frame):
                rests = not has_jobs and not pool._shutdown  # it ends, and is waited for
            else:
                rests = self._rests_outside(frame, thread.native_id)
            if not rests:
                moving[thread.native_id or 0] = 0
