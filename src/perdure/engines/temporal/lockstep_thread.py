"""The user's workflow function, on a thread of its own, in lock-step with Temporal's deterministic loop.

At any moment either the thread runs or the loop does. The thread hands over what it wants done (operations: steps and
child runs) and waits; the loop does it, lets time pass as Temporal wants it, and hands the answers back. Temporal moves
a cached workflow from one of its own threads to another, and drops it when its cache is full; this thread stays the
same one, and is unwound when its workflow is dropped: another worker, or this one, replays it from the start.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from temporalio import workflow

from perdure.core.durations import show
from perdure.errors import StopRun, UsageError

Operation = Callable[[], Awaitable[Any]]

MOST_OPEN = 500
"""Operations under way at a time: Temporal refuses more than 2,000 in a run."""
MOST_RECORDED = 25_000_000
"""Bytes of Temporal's record of a run before a new one is begun; at 50 MB Temporal would end the run."""
CLEAN_UP = 0.5
"""Seconds that an unwound function has for its `finally` blocks before it is left to itself."""
LEAVING = 5.0
"""Seconds that a function may wait for timers of its own after it was asked to leave."""
MOST_BYTES = 2_500_000
"""Of operations under way at a time: what is handed to Temporal at once may have 4 MB."""


class Unwound(BaseException):
    """The workflow goes on elsewhere, or was cancelled: leave the function. Not to be caught."""


class Ticket:
    """An operation that was handed over; `value` or `error` is its result once it is `done`.

    `bound`: it ends by itself when the time of the run is over. `noting`: it ends at once, and is not withdrawn, unless
    the run ends before it has begun; `then` is called on the function's thread when it has ended. `idle`: it only
    waits, maybe for months, and is begun again where the run goes on in a new record.
    """

    __slots__ = (
        "bound",
        "done",
        "error",
        "idle",
        "noting",
        "on_done",
        "operation",
        "size",
        "task",
        "then",
        "value",
        "withdrawn",
    )

    def __init__(self, operation: Operation, size: int, on_done: Callable[[Ticket], None] | None) -> None:
        self.operation = operation
        self.size = size
        self.on_done = on_done
        self.bound = False
        self.noting = False
        self.then: Callable[[], None] | None = None
        self.idle = False
        self.done = False
        self.withdrawn = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.task: asyncio.Task[None] | None = None


class LockstepThread:
    """One workflow function and its thread.

    Args:
        longest: seconds that the function may compute between two steps.
        most_events: the length of Temporal's record at which nothing new is begun in it.
        kept: how many bytes a new record would begin with.
        renew: goes on in a new execution of the run, with what was done so far; never returns.

    `now` is the time of day, which stands still while the function runs; `moved` is when a step
    has ended last, or when the first of those under way began. `on_interrupt` is called on the thread, if it
    waits for something, when the run is to end. `dropped`: the workflow goes on elsewhere, and nothing is done here.
    """

    def __init__(
        self, longest: float, most_events: int, kept: Callable[[], int], renew: Callable[[], NoReturn]
    ) -> None:
        self.now = 0.0
        self.moved = 0.0
        self.on_interrupt: Callable[[], object] | None = None
        self.dropped = False
        self._interrupted = False
        self._leave_by: float | None = None
        self._longest = longest
        self._most_events = most_events
        self._kept = kept
        self._renew = renew
        self._function: Callable[[], Any] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._over = False
        self._unwinding = False
        self._stuck = False
        self._until: float | None = None
        self._queued: deque[Ticket] = deque()
        self._open: dict[Ticket, None] = {}
        self._ended: deque[Ticket] = deque()
        self._cancelled: list[Ticket] = []
        self._idle = 0
        self._executing = 0
        self._bytes = 0
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)

    # -- on the function's thread -------------------------------------------------------------------------------------

    def submit(self, operation: Operation, size: int = 0, on_done: Callable[[Ticket], None] | None = None) -> Ticket:
        """Hand over an operation; it begins when this thread waits.

        Args:
            operation: called on Temporal's loop.
            size: how many bytes it hands to Temporal.
            on_done: called on this thread, while it waits, when the operation has ended.
        """
        if self._unwinding:
            raise Unwound
        ticket = Ticket(operation, size, on_done)
        self._queued.append(ticket)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Its result is not needed any more."""
        if not ticket.done:
            self._cancelled.append(ticket)

    def wait(self, until: float | None = None) -> list[Ticket]:
        """Let the loop go on until an operation has ended, or until that time of day; returns those that have.

        Raises:
            Unwound: there is nothing to wait for any more.
        """
        if self._unwinding:
            raise Unwound
        if not self._ended:
            self._until = until
            self._back.release()
            self._go.acquire()
            if self._unwinding:
                raise Unwound
            interrupted, self._interrupted = self._interrupted, False
            if interrupted and self.on_interrupt is not None:
                self.on_interrupt()
            elif until is not None and not self._ended and not interrupted:
                self.now = max(self.now, until)
        ended = list(self._ended)
        self._ended.clear()
        for ticket in ended:
            if ticket.then is not None and ticket.error is None:
                ticket.then()
            if ticket.on_done is not None:
                ticket.on_done(ticket)
        return ended

    def result(self, ticket: Ticket) -> Any:
        """Wait for one operation: its value, or what it raised."""
        while not ticket.done:
            self.wait()
        if ticket.error is not None:
            raise ticket.error
        return ticket.value

    def _live(self) -> None:
        self._go.acquire()
        try:
            if not self._unwinding:
                assert self._function is not None
                self._value = self._function()
        except BaseException as error:  # noqa: BLE001  what waits for the function raises it
            self._error = error
        self._over = True
        self._back.release()

    # -- on Temporal's loop -------------------------------------------------------------------------------------------

    async def carry(self, function: Callable[[], Any]) -> Any:
        """Call the function on a thread of its own, and do what it asks for: its value, or what it raised.

        Raises:
            StopRun: it computed for too long between two steps.
        """
        self._function = function
        context = contextvars.copy_context()
        threading.Thread(target=lambda: context.run(self._live), name="perdure-workflow", daemon=True).start()
        try:
            self._resume()
            while not self._over:
                await self._serve()
                self._resume()
        except asyncio.CancelledError:
            self.dropped = True
            raise
        finally:
            self._leave()
        if self._error is not None:
            raise self._error
        return self._value

    def _resume(self) -> None:
        self.now = max(self.now, workflow.time())
        self._go.release()
        if not self._back.acquire(timeout=self._longest):
            self._stuck = True
            # The thread finds out when it comes back. Waiting on would only make Temporal give the run to another
            # worker, and so on for ever.
            raise StopRun(
                UsageError(
                    f"the workflow has computed for more than {show(self._longest)} without calling a step",
                    "make a step of what takes so long; or allow more with ?dead_after= in the address of the engine",
                )
            )

    async def _serve(self) -> None:
        """Until something has ended, or the time that the function waits for has come."""
        for ticket in self._cancelled:
            if not ticket.noting:
                self._withdraw(ticket)
        self._cancelled.clear()
        self._begin()
        if self._queued and len(self._open) == self._idle:
            self._renew()
        while not self._ended and not self._interrupted:
            if self._is_worn_out():
                self._renew()
            until = self._until
            if self._leave_by is not None and not self._open:
                until = self._leave_by if until is None else min(until, self._leave_by)
            left = None if until is None else until - workflow.time()
            if left is None or left > 0:
                try:
                    await workflow.wait_condition(
                        lambda: bool(self._ended) or self._interrupted or self._is_worn_out(), timeout=left
                    )
                    continue
                except TimeoutError:
                    pass
            if until == self._leave_by:
                self._unwinding = True  # it was asked to leave, and waits for something else
            return

    def interrupt(self, *, bounded: bool = False) -> None:
        """The run is to end: break off what is under way, except (`bounded`) for what ends now by itself."""
        self._leave_by = workflow.time() + LEAVING
        self._interrupted = True
        for ticket in [*self._open, *self._queued]:
            if not (bounded and ticket.bound and ticket.task is not None):
                self._withdraw(ticket)

    async def quiesce(self) -> None:
        """The function has left: wait until everything that was broken off is over."""
        while self._open:
            for ticket in list(self._open):
                if ticket.task is not None:
                    await asyncio.wait([ticket.task])

    def _begin(self) -> None:
        """Begin what may begin: not too much at a time, and nothing in a record that is full."""
        full = self._is_full()
        while self._queued and not full and len(self._open) - self._idle < MOST_OPEN:
            if self._open and self._bytes + self._queued[0].size > MOST_BYTES:
                return
            ticket = self._queued.popleft()
            if not self._executing:
                self.moved = workflow.time()
            self._open[ticket] = None
            self._count(ticket, 1)
            self._bytes += ticket.size
            ticket.task = asyncio.create_task(self._carry_out(ticket))
            ticket.task.add_done_callback(lambda _, it=ticket: self._end(it))  # type: ignore[misc]

    @property
    def executes(self) -> bool:
        """Does the function wait for a step?"""
        return self._executing > 0

    @property
    def rests(self) -> bool:
        """Does the function only wait for what may take months?"""
        return 0 < self._idle == len(self._open)

    def _is_worn_out(self) -> bool:
        """Has what came to a run that only waits filled its record?"""
        return self.rests and self._is_full()

    def _is_full(self) -> bool:
        """Is it time for a new record? Temporal bounds its length and its size; a new one only has what is kept."""
        info = workflow.info()
        most = max(MOST_RECORDED, self._kept() + self._kept() // 10 + 5_000_000)
        return info.get_current_history_length() >= self._most_events or info.get_current_history_size() >= most

    async def _carry_out(self, ticket: Ticket) -> None:
        try:
            ticket.value = await ticket.operation()
        except BaseException as error:  # noqa: BLE001  also a cancellation: the function's thread gets it
            ticket.error = error

    def _count(self, ticket: Ticket, change: int) -> None:
        self._idle += change * ticket.idle
        self._executing += change * (not ticket.idle and not ticket.bound)

    def _end(self, ticket: Ticket) -> None:
        if ticket.task is not None and ticket.task.cancelled():
            ticket.error = asyncio.CancelledError()  # before it began
        if ticket in self._open:
            del self._open[ticket]
            self._count(ticket, -1)
            self.moved = workflow.time()
            self._bytes -= ticket.size
        ticket.done = True
        self._ended.append(ticket)

    def _withdraw(self, ticket: Ticket) -> None:
        if ticket.withdrawn or (ticket.noting and ticket.task is not None):
            return
        ticket.withdrawn = True
        if ticket.task is not None:
            ticket.task.cancel()
        elif ticket in self._queued:
            self._queued.remove(ticket)
            ticket.error = asyncio.CancelledError()
            self._end(ticket)

    def _leave(self) -> None:
        """Leave nothing behind: no operation under way, no thread."""
        for ticket in self._open:
            self._withdraw(ticket)
        if not self._over:
            self._unwinding = True
            self._go.release()
            if not self._stuck:
                self._back.acquire(timeout=CLEAN_UP)
