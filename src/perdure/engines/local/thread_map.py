"""Many calls of a sync step, on pool threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, Protocol

from perdure.core.execution.adaptive_concurrency import AdaptiveConcurrency
from perdure.core.execution.map_items import Job, Tally
from perdure.core.execution.spec import Call, Spec
from perdure.engines.local.handoff import Driven, Handoff
from perdure.engines.local.resources import Resources
from perdure.engines.runtime.base_map import MapScope, Program, SyncMap
from perdure.engines.runtime.holds import Holds
from perdure.engines.runtime.thread_branches import hand_on


class ThreadScope(MapScope, Driven, Protocol):
    """What a map on threads needs of the run besides."""

    resources: Resources
    abandoned: bool
    holds: Holds

    def drive(self, program: Program, answer: Any = None) -> Any:
        """Carry a decision to its end on this thread, from where it waits for `answer`."""

    def drive_step(self, program: Program, spec: Spec) -> Any:
        """The same for the call of a step, on a thread from which its timeout can be kept."""


class ThreadMap(SyncMap[ThreadScope]):
    """Items are drawn on the caller's thread, since drawing them may call steps; pool threads run them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._room = threading.Event()
        self._idle = threading.Event()
        self._lock = self.lock = threading.Lock()
        self._workers = 0
        self._unfinished = 0
        self._left = False
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
            self._end_locked(job, self.scope.drive_step(self.program(job), self.spec))
        else:
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        if self.adaptive is not None:
            self._admit(self.adaptive)
        with self._lock:
            self._unfinished += 1
        self._queue.put(job)
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
        queue, room = self._queue, self._room
        while (job := queue.get()) is not None:
            if not room.is_set() and queue.qsize() <= 2 * self.concurrency:
                room.set()
            if self.stopped:
                self._count_down()
                continue
            Handoff(self.program(job), self.scope, self._on_end(job), self._work, context=self._context).run()

    def _on_end(self, job: Job) -> Callable[[Any, BaseException | None], None]:
        def on_end(end: Any, error: BaseException | None) -> None:
            if error is None:
                self._end_locked(job, end)
            elif self.error is None:
                self.error = error
            self._count_down()

        return on_end

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
