"""Many calls of an async step, in tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from typing import Any, NoReturn, Protocol

from perdure.core.exceptions.exits import is_exit
from perdure.core.execution.call_end import fail
from perdure.core.execution.effects import Outcome
from perdure.core.execution.map_items import Job, Tally
from perdure.core.execution.spec import Call
from perdure.core.records import Row
from perdure.engines.runtime.base_map import BaseMap, MapScope, Program
from perdure.engines.runtime.branches import unwatched
from perdure.engines.runtime.drawn_items import DrawnItems
from perdure.engines.runtime.event_order import EventOrder
from perdure.engines.runtime.loop_futures import settle_future
from perdure.engines.runtime.paused_items import Paused
from perdure.engines.runtime.turnstile import Turnstile
from perdure.errors import StateError, StopRun


class _Cancelled(Exception):
    """A task of the map was cancelled: by the map itself, or by the step that it was in."""


class TaskScope(MapScope, Protocol):
    """What a map in tasks needs of the run besides."""

    def stop(self, stop: StopRun) -> StopRun:
        """The run cannot go on: every further call says so again."""

    def stop_for(self, error: StateError | StopRun) -> NoReturn:
        """The same because of that, which is raised."""

    def first_attempt(self, call: Call, park: bool) -> Outcome | Awaitable[Outcome] | None:
        """The first attempt of an item, begun in the current task; None: its decision has to be asked."""

    def keep_soon(self, rows: Sequence[Row], then: Callable[[BaseException | None], None]) -> None:
        """Save rows, to which more may be added until the turn of the loop ends; `then` is told how that went."""


class _Turn:
    """The items whose first attempts have succeeded in one turn of the loop, which are saved at its end."""

    __slots__ = ("jobs", "rows")

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.rows: list[Row] = []


class AsyncMap(BaseMap[TaskScope]):
    """Tasks draw the items and run them: one at first, and as many as may run at a time once that comes to wait.

    An item whose first attempt succeeds is not waited for: while it is being saved, the task that has made it goes on
    to the next. It counts as under way until it is saved.
    """

    turnstile: Turnstile | None = None  # where adaptive concurrency lets items through

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._under_way = 0  # items that have begun and not ended, also those that are paused
        self._waiters: list[asyncio.Future[None]] = []  # done as soon as one more of them ends
        self._turn: _Turn | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._broken: BaseException | None = None  # by what a task has failed
        self._caller: asyncio.Task[Any]
        self._cancelled: int  # how often that was cancelled before, and went on
        self._make: Callable[[int], None]  # makes so many tasks more

    async def run(self, items: Iterable[Any] | AsyncIterable[Any], bind: Callable[[Any], Call]) -> Tally:
        """Run them all.

        Raises:
            StopRun: the run cannot go on.
            HasDeadLetters: there are more dead letters than are put up with.
            Exception: the first item that failed for good, if that is not to be parked.
        """
        order = self.scope.order_here()
        if order is None:
            return await self._run(items, bind, None)
        with order.mapping():
            return await self._run(items, bind, order)

    async def _run(
        self, items: Iterable[Any] | AsyncIterable[Any], bind: Callable[[Any], Call], order: EventOrder | None
    ) -> Tally:
        jobs = DrawnItems(self, items, bind)
        caller = asyncio.current_task()
        assert caller is not None
        self._caller, self._cancelled = caller, caller.cancelling()
        self.turnstile = None if self.adaptive is None else Turnstile(self.adaptive)
        with unwatched():  # they come to rest when the map does
            # Whenever it is made: not in the midst of an attempt of the task that comes to wait.
            context = copy_context()
        self._make = lambda count: context.run(self._make_workers, jobs, count)
        self._make(1 if self.turnstile is None else self.concurrency)
        try:
            # Not gather: cancelled, it goes on to wait for its tasks, and the workflow seems to be at rest meanwhile.
            # On tasks: what a branch of the workflow waits for is looked at (see `awaiting`).
            await asyncio.wait(self._workers)
            if self._broken is None:
                await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
            if self._broken is not None:
                raise self._broken
            while self._turn is not None:
                await self._one_ended()
            if self.error is not None:
                raise self.error
        except BaseException as error:
            for worker in self._workers:
                worker.cancel()
            with nullcontext() if order is None else order.unwinding():
                ends = await asyncio.gather(*self._workers, return_exceptions=True)
            self.note_exits(error)
            # A KeyboardInterrupt leaves the loop at once, which then cancels all tasks: it is what has ended the map.
            for left_by in ends:
                if isinstance(left_by, KeyboardInterrupt):
                    raise left_by from None
            if isinstance(error, _Cancelled):
                raise asyncio.CancelledError from error
            raise
        if order is not None and (last := self.tally.last()):
            await order.ended(last + 0.5)  # after its last item, and before what comes next
        for job, end in self.settled():
            self.ended(job, await self.scope.drive_in_task(self.parking(job, end)))
        self.refuse_too_many()
        if self.failed is not None:
            call, end = self.failed
            self.mark_program_fault(call, end)
            if not end.replayed:
                await self.scope.drive_in_task(fail(call, self.history, end))
            raise end.take()
        return self.tally

    def _make_workers(self, jobs: DrawnItems, count: int) -> None:
        for _ in range(count):
            worker = asyncio.create_task(self._work_on(jobs))
            worker.add_done_callback(self._worker_ended)
            self._workers.append(worker)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        error = _Cancelled() if worker.cancelled() else worker.exception()
        if error is not None and self._broken is None:
            self._broken = error
            self._workers[0].cancel()  # which is waited for

    def _make_room(self) -> None:
        """This task comes to wait: the others begin, unless they have."""
        if (more := self.concurrency - len(self._workers)) > 0:
            self._make(more)

    async def _work_on(self, jobs: DrawnItems) -> None:
        try:
            await self._work(jobs)
        except asyncio.CancelledError as error:
            if self._caller.cancelling() > self._cancelled:
                raise  # with the map itself: an end of the loop after Ctrl-C would print what has failed instead
            raise _Cancelled from error  # a task that was cancelled is not taken for one that has failed
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or not is_exit(type(error)):
                raise
            if self.error is None:
                self.error = error  # raised when the items under way have ended: it would leave the loop now

    async def _work(self, jobs: DrawnItems) -> None:
        while True:
            if self._under_way - len(self.paused.items) >= self.concurrency and not self.over:
                await self._one_ended()
                continue
            job = jobs.ready() if self._flows() else None
            if job is not None:  # the way of nearly all items, which all that `_next` looks at does not concern
                if (rest := self._start(job)) is not None:
                    await rest
                continue
            if self.over:
                return
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

    def _flows(self) -> bool:
        """May the next item begin, whatever it is: has one succeeded, and does none wait or stand for trouble?"""
        return (
            self.tally.done > 0
            and self.failed is None
            and self.error is None
            and self.max_dead is None
            and self.turnstile is None
            and not (self.paused.items or self.faults.aside or self.faults.held)
        )

    async def _next(self, jobs: DrawnItems) -> bool:
        """Run the next item, or wait for one that is paused; False if there are no more."""
        if self.stopped:
            self._under_way -= len(self.paused.drop_all())
        due = self.paused.due()
        if due is not None:
            await self._carry(*due)
            return True
        if (self.faults.aside or self.faults.held) and not self.stopped:
            job, wait = self._held(exhausted=False)
            if job is not None:
                await self._begin(job)
                return True
            if wait:
                await self._more()
            if wait or self.stopped:
                return True
        job = jobs.ready() if self.paused.room or not self.paused else None
        if job is None and not self.paused:
            if jobs.waits:
                self._make_room()
            job = await jobs.next()
        if job is None and not self.paused:
            job, wait = self._held(exhausted=True)
            if job is not None:
                await self._begin(job)
                return True
            if not wait:
                return False
        if job is None:
            await self._more()
        elif self.may_start(job) and self._admits(job):
            await self._begin(job)
        return True

    def _held(self, *, exhausted: bool) -> tuple[Job | None, bool]:
        """A held item that may begin now; and whether to wait for what is under way before anything else begins."""
        faults = self.faults
        if self.stopped:
            return None, False
        if self.tally.done:
            return faults.held.popleft() if faults.held else None, False
        if self._under_way and (faults.suspected or (exhausted and faults.held)):
            return None, True
        if faults.exhausted or (exhausted and faults.suspected and faults.held):
            self.fail_early()
        elif exhausted and faults.held:
            return faults.held.popleft(), False
        return None, False

    def _admits(self, job: Job) -> bool:
        if job.seq is not None or self.tally.done or not self.park:
            return True
        return self.faults.admits(job, tried=self.history.tried(job.call), quiet=not self._under_way)

    async def _more(self) -> None:
        """Wait until one more item has ended, or a paused one may go on."""
        self._make_room()
        if self.paused:
            await self.scope.drive_in_task(self.paused.next_wait())
            return
        await self._one_ended()

    async def _one_ended(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def _begin(self, job: Job) -> None:
        if (rest := self._start(job)) is not None:
            await rest

    def _start(self, job: Job) -> Awaitable[None] | None:
        """Begin an item. None: it has succeeded, without waiting for anything; else it ends as that is awaited."""
        self._under_way += 1
        if job.seq is not None or self.adaptive is not None:
            return self._carry(job, self.program(job))
        self.note_batch(job)
        try:
            first = self.scope.first_attempt(job.call, self.park)
            if type(first) is Outcome and self._keeps(job, first):
                return None
        except BaseException as error:
            self._broken_off(error)
            raise
        return self._go_on(job, first)

    async def _go_on(self, job: Job, first: Outcome | Awaitable[Outcome] | None) -> None:
        if first is not None and not isinstance(first, Outcome):
            try:
                self._make_room()
                first = await first
                if self._keeps(job, first):
                    return
            except BaseException as error:
                self._broken_off(error)
                raise
        await self._carry(job, self.decide(job, first))

    def _broken_off(self, error: BaseException) -> None:
        self._one_less()
        if isinstance(error, StateError | StopRun):
            self.scope.stop_for(error)

    def _keeps(self, job: Job, first: Outcome) -> bool:
        """If an item has succeeded at its first attempt, it ends when that is saved."""
        if (rows := self.success(job, first)) is None:
            return False
        turn = self._turn
        if turn is None:
            turn = self._turn = _Turn()
            self.scope.keep_soon(turn.rows, partial(self._kept, turn))
        turn.rows.extend(rows)
        turn.jobs.append(job)
        return True

    def _kept(self, turn: _Turn, error: BaseException | None) -> None:
        self._turn = None
        if error is None:
            self.saved(turn.jobs)
        elif self.error is None:
            self.error = self.scope.stop(StopRun(error)) if isinstance(error, StateError) else error
        self._under_way -= len(turn.jobs) - 1
        self._one_less()

    async def _carry(self, job: Job, program: Program) -> None:
        if job.seq is None:
            self._make_room()
        try:
            end = await self.scope.drive_in_task(program)
        except BaseException:
            self._one_less()
            raise
        self._end(job, end)
        del end  # the wait of a paused one knows the error, whose traceback leads here

    def _end(self, job: Job, end: Any) -> None:
        if type(end) is Paused:
            if not self.stopped:
                self.paused.add(job, end, self.scope.notify_wait(end.wait))
                return
            end.program.close()
        else:
            self.ended(job, end)
        self._one_less()

    def _one_less(self) -> None:
        self._under_way -= 1
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            settle_future(waiter)
