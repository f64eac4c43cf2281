"""Many calls of a sync step, on pool threads."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from perdure.core.execution.adaptive_concurrency import AdaptiveConcurrency
from perdure.core.execution.effects import Outcome
from perdure.core.execution.map_items import Job, Tally
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import Row
from perdure.engines.local.handoff import Driven, Handoff
from perdure.engines.local.resources import Resources
from perdure.engines.runtime.base_map import MapScope, Program, SyncMap
from perdure.engines.runtime.paused_items import Paused
from perdure.engines.runtime.thread_branches import hand_on
from perdure.engines.runtime.timeouts import Abandoned
from perdure.engines.runtime.work_under_way import WorkUnderWay

TICK = 0.05
"""Seconds between two looks at whether a new item has come, while those that are paused wait."""


class ThreadScope(MapScope, Driven, Protocol):
    """What a map on threads needs of the run besides."""

    resources: Resources
    abandoned: bool
    holds: WorkUnderWay

    def first_attempt_here(self, call: Call, park: bool) -> Outcome | None:
        """The first attempt of an item, made on this thread; None: its decision has to be asked."""

    def keep(self, rows: Sequence[Row]) -> None:
        """Save rows."""

    def drive(self, program: Program, answer: Any = None) -> Any:
        """Carry a decision to its end on this thread, from where it waits for `answer`."""

    def drive_step(self, program: Program, spec: Spec) -> Any:
        """The same for the call of a step, on a thread from which its timeout can be kept."""


class ThreadMap(SyncMap[ThreadScope]):
    """Items are drawn on the caller's thread, since drawing them may call steps; pool threads run them.

    One of them saves what has succeeded at once while the others go on. An item counts as one that runs until then.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lock = self.lock = threading.Lock()
        self._items: deque[Job] = deque()  # that have not begun
        self._room = threading.Event()  # for more of them
        self._drawn = False  # no further items come
        self._workers = 0
        self._most = self.concurrency  # threads
        self._sleeping: list[threading.Lock] = []  # those that have nothing to do
        self._rousing = False  # one of them is being woken, or begun
        self._sitting = False  # one waits for the next item that is paused
        self._home = False  # all are to end
        self._places = self.concurrency  # for items that run
        self._unsaved: tuple[list[Job], list[Row]] = [], []
        self._saving = False  # a thread saves what there is, and what is added meanwhile
        self._unfinished = 0
        self._idle = threading.Event()
        self._left = False
        self._context = hand_on(contextvars.copy_context())

    def run(self, calls: Iterator[Call]) -> Tally:
        """Run them all.

        Raises:
            StopRun: the run cannot go on.
            Exception: the first item that failed for good, if that does not make a dead letter.
        """
        try:
            self.scope.holds.take(self)
            try:
                self.draw(calls)
                self._drawn = True
                self.finish()
                if self.concurrency == 1:
                    self._run_paused(wait=True)
            except BaseException as error:
                if self.error is None:
                    self.error = error
                self._wind_up()
                self.note_exits(error)
                raise
            self._wind_up()
            self.note_exits(self.error)
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
                self._run_alone(job)
        else:
            self._enqueue(job)

    def quiesce(self) -> None:
        """Wait until no item is under way."""
        if self.concurrency == 1:
            self._run_paused(wait=True)
        else:
            self._wait_until_idle()

    def _run_alone(self, job: Job) -> None:
        first = None
        if self.adaptive is None:
            self.note_batch(job)
            first = self.scope.first_attempt_here(job.call, self.park)
            if first is not None and (rows := self.success(job, first)) is not None:
                self.scope.keep(rows)
                self.saved((job,))
                return
        program = self.program(job) if first is None else self.decide(job, first)
        del first  # no variable keeps its error: the error's traceback leads here
        self._run_here(job, program)

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
            self._items.append(job)
            self._rouse()
        # Filled in gusts: waking this thread for every item would cost a switch each.
        while len(self._items) >= 4 * self.concurrency:
            self._room.clear()
            if len(self._items) >= 4 * self.concurrency:
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

    def _come(self) -> None:
        self._rousing = False
        self._work()

    def _work(self) -> None:
        """A pool thread's life in this map: take an item, carry it to its end, take the next."""
        while (found := self._take()) is not None:
            job, program = found
            if self.stopped or (program is None and self.park and self._keeps(job)):
                self._count_down()
            elif program is not None or job.seq is not None or self.adaptive is not None:
                program = program or self.program(job)
                Handoff(program, self.scope, partial(self._on_end, job), self._work, context=self._context).run()
            else:
                self._work_on(job)

    def _work_on(self, job: Job) -> None:
        self.note_batch(job)
        scope, on_end, decide = self.scope, partial(self._on_end, job), partial(self.decide, job)
        handoff = Handoff(None, scope, on_end, self._work, context=self._context, decide=decide)
        try:
            first = handoff.attempt(scope.first_attempt_here, job.call, self.park)
            rows = None if first is None else self.success(job, first)
        except Abandoned:
            raise
        except BaseException as error:  # noqa: BLE001  raised where the end is waited for
            on_end(None, error)
            return
        if rows is not None:
            self._keep(job, rows)
        else:
            handoff.program = self.decide(job, first)
            del first  # no variable keeps its error: the error's traceback leads here
            handoff.run()

    def _keep(self, job: Job, rows: Sequence[Row]) -> None:
        """An item has succeeded, and ends when that is saved."""
        with self._lock:
            self._unsaved[0].append(job)
            self._unsaved[1].extend(rows)
            if self._saving:
                return
            self._saving = True
        while True:
            with self._lock:
                (jobs, unsaved), self._unsaved = self._unsaved, ([], [])
                if not jobs:
                    self._saving = False
                    return
            try:
                self.scope.keep(unsaved)
            except BaseException as error:  # noqa: BLE001  raised where the end is waited for
                if self.error is None:
                    self.error = error
            else:
                with self._lock:
                    self.saved(jobs)
            self._count_down(len(jobs))

    # -- which thread does what --------------------------------------------------------------------------------------

    def _take(self) -> tuple[Job, Program | None] | None:
        """The next item, which may run: one whose wait is over, else a new one; None if there are no more.

        Threads are begun and woken one by one, each by the one before that has found something. So there are as many as
        wait in their items, and not as many as would wait for the interpreter with an item half done.
        """
        while True:
            wake = None
            with self._lock:
                if self.paused.items and self.stopped:
                    self._drop_paused()
                found = self._find() if self._places > 0 else None
                if found is not None:
                    self._places -= 1
                    self._rouse()
                    return found
                if self._home:
                    return None
                if self.paused.items and not self._sitting:
                    self._sitting = True
                else:
                    wake = threading.Lock()
                    wake.acquire()
                    self._sleeping.append(wake)
            if wake is None:
                self._sit()
            else:
                wake.acquire()
                self._rousing = False  # it has come

    def _find(self) -> tuple[Job, Program | None] | None:
        due = self.paused.due() if self.paused.items else None
        if due is not None:
            if self.adaptive is not None:
                self.adaptive.enter()
            return due
        if not self._items:
            self._room.set()
            return None
        job = self._items.popleft()
        if len(self._items) == 2 * self.concurrency:
            self._room.set()
        return job, None

    def _rouse(self) -> None:
        """Let one more thread come, if there is something for it to do. Under the lock."""
        sits = bool(self.paused.items) and not self._sitting
        if self._rousing or not (sits or (self._items and self._places > 0)):
            return
        if self._sleeping:
            self._rousing = True
            self._sleeping.pop().release()
        elif self._workers < min(self._most, self._unfinished):
            self._begin_thread()

    def _begin_thread(self) -> None:
        context = self._context.copy()
        self._rousing = True
        self._workers += 1
        try:
            self.scope.resources.pool.spawn(lambda: context.run(self._come))
        except BaseException as error:
            self._rousing = False
            self._most = self._workers = self._workers - 1
            if self._workers and isinstance(error, RuntimeError):  # there can be no more threads: these do
                return
            self._drop_queued()
            raise

    def _sit(self) -> None:
        """Let some time pass: the next paused item may be due then, or others may have come."""
        try:
            with self._lock:
                longest = float("inf") if self._drawn and not self._items else TICK
                wait = self.paused.next_wait(longest) if self.paused else None
            if wait is not None:
                self.scope.drive(wait)
        except BaseException as error:  # noqa: BLE001  raised when the items under way have ended
            if self.error is None:
                self.error = error
        finally:
            self._sitting = False

    def _keeps(self, job: Job) -> bool:
        if self.tally.done:
            return False
        with self._lock:
            return self.faults.keeps(job)

    # -- how items end -----------------------------------------------------------------------------------------------

    def _on_end(self, job: Job, end: Any, error: BaseException | None) -> None:
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

    def _pause(self, job: Job, paused: Paused) -> None:
        over = self.scope.notify_wait(paused.wait)
        with self._lock:
            self.paused.add(job, paused, over)
            self._places += 1
            self._rouse()
            if self.adaptive is not None:
                self.adaptive.leave()
        if self.adaptive is not None:
            self._room.set()

    def _end_locked(self, job: Job, end: Any) -> None:
        with self._lock:
            self.ended(job, end)

    def _count_down(self, items: int = 1) -> None:
        """Items that had a place have ended."""
        with self._lock:
            self._places += items
            if self.adaptive is not None:
                self.adaptive.leave()
            over = self._ended_items(items)
            self._rouse()
        if self.adaptive is not None:
            self._room.set()
        if over:
            self.scope.holds.drop(self)

    def _ended_items(self, items: int) -> bool:
        """The same under the lock; were they the last ones, of a map that was left?"""
        self._unfinished -= items
        if self._unfinished == 0:
            self._idle.set()
        return self._left and self._unfinished == 0

    def _drop_paused(self) -> None:
        """The map ends: what waits is not tried again. Under the lock."""
        if (dropped := len(self.paused.drop_all())) and self._ended_items(dropped):
            self.scope.holds.drop(self)

    def _drop_queued(self) -> None:
        """What has not begun does not begin. Under the lock."""
        self._unfinished -= len(self._items)
        self._items.clear()

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
                if self.error is None:
                    self.error = error  # what has not begun does not begin
                if not first:
                    self.scope.abandoned = True
                    break
        with self._lock:
            self._home = True
            while self._sleeping:
                self._sleeping.pop().release()
        if interrupted is not None:
            raise interrupted

    def _wait_until_idle(self) -> None:
        while True:
            with self._lock:
                if self.stopped:  # perhaps by Ctrl-C, before any thread had come for them
                    self._drop_queued()
                if self._unfinished == 0:
                    return
                self._idle.clear()
            self._idle.wait()

    def over_for_good(self) -> None:
        """No item of it is under way any more, or it was left: said again, since Ctrl-C may have come as it was."""
        self._leave()
        super().over_for_good()

    def _leave(self) -> None:
        """Threads that still work on the run keep it: nothing else may have it before they have ended."""
        with self._lock:
            self._left = True
            if self._unfinished:
                return
        self.scope.holds.drop(self)
