"""Many calls of a sync step, on pool threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from perdure.core.execution.adaptive_concurrency import AdaptiveConcurrency
from perdure.core.execution.map_items import Job, Tally
from perdure.core.execution.spec import Call, Spec
from perdure.engines.local.handoff import Driven, Handoff
from perdure.engines.local.resources import Resources
from perdure.engines.runtime.base_map import MapScope, Program, SyncMap
from perdure.engines.runtime.paused_items import Paused
from perdure.engines.runtime.thread_branches import hand_on
from perdure.engines.runtime.work_under_way import WorkUnderWay

LOOK: Final = None, None
"""In the queue: a thread that is idle is to look at the items that are paused."""
TICK = 0.05
"""Seconds between two looks at whether a new item has come, while those that are paused wait."""


class ThreadScope(MapScope, Driven, Protocol):
    """What a map on threads needs of the run besides."""

    resources: Resources
    abandoned: bool
    holds: WorkUnderWay

    def drive(self, program: Program, answer: Any = None) -> Any:
        """Carry a decision to its end on this thread, from where it waits for `answer`."""

    def drive_step(self, program: Program, spec: Spec) -> Any:
        """The same for the call of a step, on a thread from which its timeout can be kept."""


class ThreadMap(SyncMap[ThreadScope]):
    """Items are drawn on the caller's thread, since drawing them may call steps; pool threads run them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._queue: SimpleQueue[tuple[Job | None, Program | None] | None] = SimpleQueue()
        self._room = threading.Event()
        self._idle = threading.Event()
        self._lock = self.lock = threading.Lock()
        self._workers = 0
        self._unfinished = 0
        self._left = False
        self._drawn = False  # no further items come
        self._sitting = False  # a thread waits for the next item that is paused
        self._called = False  # LOOK is in the queue
        self._context = hand_on(contextvars.copy_context())

    def run(self, calls: Iterator[Call]) -> Tally:
        """Run them all.

        Raises:
            StopRun: the run cannot go on.
            Exception: the first item that failed for good, if that does not make a dead letter.
        """
        self.scope.holds.take()
        try:
            try:
                self.draw(calls)
                self._drawn = True
                self.finish()
                if self.concurrency == 1:
                    self._run_paused(wait=True)
            except BaseException as error:
                self.error = self.error or error
                self._wind_up()
                raise
            self._wind_up()
        finally:
            self._leave()
        if self.error is not None:
            raise self.error
        return self.result()

    def start(self, job: Job) -> None:
        """Run an item here, or have a pool thread run it."""
        if job.seq is not None:
            self._end_locked(job, self.scope.drive(self.program(job)))
        elif self.concurrency == 1:
            self._run_paused(wait=False)
            if self.may_start(job):
                self._run_here(job, self.program(job))
        else:
            self._enqueue(job)

    def quiesce(self) -> None:
        """Wait until no item is under way."""
        if self.concurrency == 1:
            self._run_paused(wait=True)
        else:
            self._wait_until_idle()

    def _run_here(self, job: Job, program: Program) -> None:
        end = self.scope.drive_step(program, self.spec)
        if type(end) is Paused:
            self.paused.add(job, end, self.scope.notify_wait(end.wait))
        else:
            self._end_locked(job, end)

    def _run_paused(self, *, wait: bool) -> None:
        """The items whose next attempt is due; those of later too, if all others have ended (`wait`)."""
        while self.paused.items and not self.stopped:
            found = self.paused.due()
            if found is not None:
                self._run_here(*found)
            elif wait or not self.paused.room:
                self.scope.drive(self.paused.next_wait())
            else:
                return
        if self.stopped:
            self.paused.drop_all()

    def _enqueue(self, job: Job) -> None:
        if self.adaptive is not None:
            self._admit(self.adaptive)
        if self.number:
            job.call.more().at = self.scope.resources.world.clock()
        with self._lock:
            self._unfinished += 1
        self._queue.put((job, None))
        if self._workers < (self.concurrency if self.adaptive is None else self._unfinished):
            self._workers += 1
            context = self._context.copy()
            self.scope.resources.pool.spawn(lambda: context.run(self._work))
        # A bounded queue, filled in gusts: waking this thread for every item would cost a switch each.
        while self._queue.qsize() >= 4 * self.concurrency:
            self._room.clear()
            if self._queue.qsize() >= 4 * self.concurrency:
                self._room.wait()

    def _admit(self, adaptive: AdaptiveConcurrency) -> None:
        """Wait until one more item may start."""
        while True:
            self._room.clear()
            with self._lock:
                if self.stopped or not adaptive.full:
                    adaptive.enter()
                    return
            self._room.wait()

    def _work(self) -> None:
        """A pool thread's life in this map: take an item, carry it to its end, take the next."""
        while (found := self._take()) is not None:
            job, program = found
            if self.stopped or (program is None and self.park and self._keeps(job)):
                self._count_down()
                continue
            program = program or self.program(job)
            Handoff(program, self.scope, self._on_end(job), self._work, context=self._context).run()

    def _take(self) -> tuple[Job, Program | None] | None:
        """The next item: one whose wait is over, else a new one; None if there are no more."""
        queue, room = self._queue, self._room
        while True:
            found, sits = self._look_at_paused() if self.paused else (None, False)
            if found is not None:
                return found
            if sits:
                taken = self._next_or_sit()
            else:
                taken = queue.get()
                if not room.is_set() and queue.qsize() <= 2 * self.concurrency:
                    room.set()
            if taken is None:
                return None
            job, program = taken
            if job is not None:
                self._call_for_look()
                return job, program
            self._called = False

    def _keeps(self, job: Job) -> bool:
        if self.tally.done:
            return False
        with self._lock:
            return self.faults.keeps(job)

    def _look_at_paused(self) -> tuple[tuple[Job, Program] | None, bool]:
        """A paused item that is due; and whether this thread is the one that waits for the next."""
        with self._lock:
            dropped = self.paused.drop_all() if self.stopped else []
            found = self.paused.due()
            sits = found is None and bool(self.paused) and not self._sitting
            self._sitting = self._sitting or sits
            if self.adaptive is not None:
                for _ in range(len(dropped) + (found is not None)):
                    self.adaptive.enter()
        for _ in dropped:
            self._count_down()
        if found is not None:
            self._call_for_look()
        return found, sits

    def _next_or_sit(self) -> tuple[Job | None, Program | None] | None:
        """A new item if there is one; else let some time pass."""
        try:
            try:
                return self._queue.get_nowait()
            except Empty:
                self._room.set()
            with self._lock:
                wait = self.paused.next_wait(float("inf") if self._drawn else TICK) if self.paused else None
            if wait is not None:
                self.scope.drive(wait)
        except BaseException as error:  # noqa: BLE001  raised when the items under way have ended
            self.error = self.error or error
        finally:
            self._sitting = False
        return LOOK

    def _call_for_look(self) -> None:
        """This thread has something to do: let another one look after the items that are paused."""
        if self.paused and not self._called:
            self._called = True
            self._queue.put(LOOK)

    def _on_end(self, job: Job) -> Callable[[Any, BaseException | None], None]:
        def on_end(end: Any, error: BaseException | None) -> None:
            if type(end) is Paused and not self.stopped:
                self._pause(job, end)
                return
            if type(end) is Paused:
                end.program.close()
            elif error is None:
                self._end_locked(job, end)
            elif self.error is None:
                self.error = error
            self._count_down()

        return on_end

    def _pause(self, job: Job, paused: Paused) -> None:
        over = self.scope.notify_wait(paused.wait)
        with self._lock:
            self.paused.add(job, paused, over)
            if self.adaptive is not None:
                self.adaptive.leave()
        if self.adaptive is not None:
            self._room.set()

    def _end_locked(self, job: Job, end: Any) -> None:
        with self._lock:
            self.ended(job, end)

    def _count_down(self) -> None:
        with self._lock:
            self._unfinished -= 1
            if self._unfinished == 0:
                self._idle.set()
            if self.adaptive is not None:
                self.adaptive.leave()
            over = self._left and self._unfinished == 0
        if self.adaptive is not None:
            self._room.set()
        if over:
            self.scope.holds.drop()

    def _wind_up(self) -> None:
        """Wait for the items under way (also after Ctrl-C; a second one ends that), and send the threads home.

        Raises:
            BaseException: what the wait was interrupted by.
        """
        interrupted: BaseException | None = None
        while True:
            try:
                self._wait_until_idle()
                break
            except BaseException as error:  # noqa: BLE001  raised when the items under way have ended
                first, interrupted = self.error is None, error
                self.error = self.error or error  # what has not begun does not begin
                if not first:
                    self.scope.abandoned = True
                    break
        for _ in range(self._workers):
            self._queue.put(None)
        if interrupted is not None:
            raise interrupted

    def _wait_until_idle(self) -> None:
        while True:
            with self._lock:
                if self._unfinished == 0:
                    return
                self._idle.clear()
            self._idle.wait()

    def _leave(self) -> None:
        """Threads that still work on the run keep it: nothing else may have it before they have ended."""
        with self._lock:
            self._left = True
            if self._unfinished:
                return
        self.scope.holds.drop()
