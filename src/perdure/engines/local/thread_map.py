"""Many calls of one step: on pool threads if it is sync, in tasks if it is async."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from perdure.core.execution.adaptive_concurrency import CEILING, Pace, paced
from perdure.core.execution.call import Failed, Parked, fail, item, move_on, recheck, settle
from perdure.core.execution.map_items import Feed, Job, Tally
from perdure.core.execution.spec import Call, Spec
from perdure.engines.events import MapProgress
from perdure.engines.interface import Concurrency, OnFailure
from perdure.engines.local.handoff import Carried

if TYPE_CHECKING:
    import asyncio


class AnyBatch:
    """What all kinds share: the count, and the first thing that went wrong.

    `concurrency` is how many items may ever be under way at a time; `pace`, if there is one, how many may be now.
    """

    def __init__(
        self, scope: Any, spec: Spec, concurrency: Concurrency, on_failure: OnFailure, total: int | None
    ) -> None:
        self.scope = scope
        self.spec = spec
        self.pace: Pace | None = None
        self.lock: AbstractContextManager[Any] = nullcontext()
        if concurrency == "auto":
            self.pace = Pace(CEILING if total is None else min(CEILING, total))
            concurrency = self.pace.most
        self.concurrency = concurrency
        self.park = on_failure == "dead_letter"
        self.total = total
        self.history = scope.history
        self.feed = Feed(scope.history, spec.name)
        self.tally = Tally()
        self.failed: tuple[Call, Failed] | None = None
        self.error: BaseException | None = None

    @property
    def stopped(self) -> bool:
        """Has something gone wrong, so that no further item may start?"""
        return self.failed is not None or self.error is not None

    @property
    def over(self) -> bool:
        """Nothing is left to draw for. After a replayed failure, the items behind it still claim their records."""
        return self.error is not None or (self.failed is not None and not self.history.doubtful(self.spec.name))

    def may_start(self, job: Job) -> bool:
        """Once stopped, items that have records are still looked at; nothing new begins."""
        return job.seq is not None or not self.stopped

    def program(self, job: Job) -> Any:
        """What decides on this item."""
        if job.seq is None:
            decision = item(job.call, self.history, self.park)
            return decision if self.pace is None else paced(decision, self.pace, self.lock)
        return recheck(job.call, self.history, job.seq, self.park)

    def ended(self, job: Job, end: Any) -> None:
        """An item has come to its end. Not for several threads at once."""
        if isinstance(end, Failed):
            self.failed = self.failed or (job.call, end)
            return
        self.tally.ended(job.index, end.seq, isinstance(end, Parked), self.history.from_before(job.seq))
        observer = self.scope.engine.observer
        if observer is not None:
            tally = self.tally
            id, workflow, name = self.scope.id, self.scope.run.workflow, self.spec.name
            observer.notify(MapProgress(id, workflow, name, tally.done, tally.dead, tally.skipped, self.total))


class ThreadBatch(AnyBatch):
    """Items are drawn on the caller's thread, since drawing them may call steps; pool threads run them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._room = threading.Event()
        self._idle = threading.Event()
        self._lock = self.lock = threading.Lock()
        self._workers = 0
        self._unfinished = 0
        self._context = contextvars.copy_context()

    def run(self, calls: Iterator[Call]) -> Tally:
        """Run them all.

        Raises:
            StopRun: the run cannot go on.
            Exception: the first item that failed for good, if that is not to be parked.
        """
        driver = self.scope.engine.sync
        try:
            driver.drive(move_on(self.history), self.scope)  # here, rather than in whichever thread comes first
            for call in calls:
                if self.over:
                    break
                job = self.feed.offer(call)
                if job is not None and self.may_start(job):
                    self._start(job)
                self._release(exhausted=False)
            self._release(exhausted=True)
        except BaseException as error:
            self.error = self.error or error
            self._wind_up()
            raise
        self._wind_up()
        if self.error is not None:
            raise self.error
        if self.failed is not None:
            call, end = self.failed
            if not end.replayed:
                driver.drive(fail(call, self.history, end), self.scope)
            raise end.error
        return self.tally

    def _release(self, *, exhausted: bool) -> None:
        while not self.stopped:
            while (job := self.feed.released()) is not None:
                self._start(job)
            job = self.feed.waiting(exhausted=exhausted)
            if job is None:
                return
            record = self.scope.engine.sync.drive(settle(job.call, self.history), self.scope)
            if record is not None:
                self._start(self.feed.adopt(record.seq))

    def _start(self, job: Job) -> None:
        if job.seq is not None:
            self._end_locked(job, self.scope.engine.sync.drive(self.program(job), self.scope))
        elif self.concurrency == 1:
            self._end_locked(job, self.scope.engine.sync.call(self.program(job), self.scope, self.spec))
        else:
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        if self.pace is not None:
            self._admit(self.pace)
        with self._lock:
            self._unfinished += 1
        self._queue.put(job)
        if self._workers < (self.concurrency if self.pace is None else self._unfinished):
            self._workers += 1
            context = self._context.copy()
            self.scope.engine.sync.pool.spawn(lambda: context.run(self._work))
        # A bounded queue, filled in gusts: waking this thread for every item would cost a switch each.
        while self._queue.qsize() >= 4 * self.concurrency:
            self._room.clear()
            if self._queue.qsize() >= 4 * self.concurrency:
                self._room.wait()

    def _admit(self, pace: Pace) -> None:
        """Wait until one more item may start."""
        while True:
            self._room.clear()
            with self._lock:
                if self.stopped or not pace.full:
                    pace.enter()
                    return
            self._room.wait()

    def _work(self) -> None:
        """A pool thread's life in this batch: take an item, carry it to its end, take the next."""
        queue, room = self._queue, self._room
        while (job := queue.get()) is not None:
            if not room.is_set() and queue.qsize() <= 2 * self.concurrency:
                room.set()
            if self.stopped:
                self._count_down()
                continue
            driver = self.scope.engine.sync
            Carried(driver, self.program(job), self.scope, self._on_end(job), self._work, context=self._context).run()

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
            if self.pace is not None:
                self.pace.leave()
        if self.pace is not None:
            self._room.set()

    def _wind_up(self) -> None:
        """Wait for the items under way (also after Ctrl-C; a second one ends that), and send the threads home."""
        try:
            while True:
                with self._lock:
                    if self._unfinished == 0:
                        break
                    self._idle.clear()
                self._idle.wait()
        except BaseException as error:
            self.error = self.error or error
            self.scope.abandoned = True  # threads of ours still work on the run: nobody else may have it
            raise
        for _ in range(self._workers):
            self._queue.put(None)


class TaskBatch(AnyBatch):
    """As many tasks as may run at a time draw the items and run them."""

    turnstile: _Turnstile | None = None

    async def run(self, items: Iterable[Any] | AsyncIterable[Any], bind: Callable[[Any], Call]) -> Tally:
        """Run them all.

        Raises:
            StopRun: the run cannot go on.
            Exception: the first item that failed for good, if that is not to be parked.
        """
        import asyncio

        from perdure.engines.runtime.branches import unwatched

        await self.scope.engine.tasks.drive(move_on(self.history), self.scope)
        jobs = _Jobs(self, items, bind)
        self.turnstile = None if self.pace is None else _Turnstile(self.pace)
        with unwatched():  # they come to rest when the batch does
            workers = [asyncio.create_task(self._work(jobs)) for _ in range(self.concurrency)]
        try:
            await asyncio.gather(*workers)
        except BaseException:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        if self.failed is not None:
            call, end = self.failed
            if not end.replayed:
                await self.scope.engine.tasks.drive(fail(call, self.history, end), self.scope)
            raise end.error
        return self.tally

    async def _work(self, jobs: _Jobs) -> None:
        while not self.over:
            if self.turnstile is None:
                if not await self._next(jobs):
                    return
                continue
            await self.turnstile.enter()
            try:
                if self.over or not await self._next(jobs):
                    return
            finally:
                self.turnstile.leave()

    async def _next(self, jobs: _Jobs) -> bool:
        """Run the next item; False if there are no more."""
        job = jobs.ready()
        if job is None:
            job = await jobs.next()
            if job is None:
                return False
        if self.may_start(job):
            self.ended(job, await self.scope.engine.tasks.drive(self.program(job), self.scope))
        return True


class _Turnstile:
    """Lets as many tasks through as the pace allows, in the order in which they came."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a place."""
        import asyncio

        while self._pace.full:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self._pace.enter()

    def leave(self) -> None:
        """Give a place back; whoever waits looks whether it may have one."""
        self._pace.leave()
        for _ in range(self._pace.limit - self._pace.inside):
            if not self._waiting:
                return
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)


class _Jobs:
    """Draws items for whichever task is free, one task at a time."""

    def __init__(
        self, batch: TaskBatch, items: Iterable[Any] | AsyncIterable[Any], bind: Callable[[Any], Call]
    ) -> None:
        import asyncio

        self._batch = batch
        self._bind = bind
        self._sync = iter(items) if isinstance(items, Iterable) else None
        self._async = None if isinstance(items, Iterable) else aiter(items)
        self._turn = asyncio.Lock()
        self._exhausted = False

    def ready(self) -> Job | None:
        """The next item that may start, if it can be had without waiting."""
        feed = self._batch.feed
        if self._sync is None or self._turn.locked():
            return feed.released()
        while not self._exhausted:
            job = feed.released()
            if job is not None:
                return job
            try:
                call = self._bind(next(self._sync))
            except StopIteration:
                self._exhausted = True
                break
            job = feed.offer(call)
            if job is not None:
                return job
            if feed.waiting(exhausted=False) is not None:
                return None
        return feed.released()

    async def next(self) -> Job | None:
        """The next item, after waiting for whatever has to be waited for; None if there are no more."""
        feed = self._batch.feed
        async with self._turn:
            while True:
                job = feed.released()
                if job is not None:
                    return job
                blocked = feed.waiting(exhausted=self._exhausted)
                batch = self._batch
                if blocked is not None and not batch.stopped:
                    record = await batch.scope.engine.tasks.drive(settle(blocked.call, batch.history), batch.scope)
                    if record is not None:
                        return feed.adopt(record.seq)
                elif self._exhausted:
                    return None
                else:
                    job = await self._draw()
                    if job is not None:
                        return job

    async def _draw(self) -> Job | None:
        try:
            drawn = next(self._sync) if self._sync is not None else await anext(self._async)  # type: ignore[arg-type]
        except (StopIteration, StopAsyncIteration):
            self._exhausted = True
            return None
        return self._batch.feed.offer(self._bind(drawn))
