"""What waits for its turn in an async workflow: calls, events of this process, and timers; see `event_order`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from perdure.core.execution.branch import Branch, Living
from perdure.core.execution.delivery_order import DeliveryOrder
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.records import StepRecord
from perdure.engines.runtime.loop_futures import settle_future
from perdure.engines.runtime.ready_handles import ready_on, shows_ready
from perdure.engines.runtime.workflow_timers import Timer
from perdure.errors import StopRun

if TYPE_CHECKING:
    from perdure.engines.runtime.loop_threads import LoopThreads
    from perdure.engines.runtime.thread_turns import ThreadTurns


class _Fired(msgspec.Struct, array_like=True):
    """A timer that has fired, as it is noted: `loop` is empty for the loop that executes an async workflow."""

    number: int
    after: float
    loop: bytes = b""


_FIRED = msgspec.msgpack.Decoder(list[_Fired])


class OrderedScope(Protocol):
    """A running workflow."""

    history: History
    main: Branch | None
    family: object
    running: set[asyncio.Task[Any]]
    maps: set[asyncio.Task[Any]]
    settling: list[tuple[Call, Branch | None]]
    executing: int
    turns: ThreadTurns | None
    deciding: AbstractContextManager[Any] | None

    @property
    def stopped(self) -> StopRun | None:
        """What the run was stopped by, if it was."""

    def read(self, seq: int) -> StepRecord:
        """The record of that number."""

    def look_again(self, waited: float) -> float:
        """In how many seconds to look again at a branch that is on its way, after it was waited for so long."""

    def notify_waiting(self, reason: str) -> None:
        """Say that the replay waits for something."""

    def note_replays(self) -> None:
        """A loop has begun or ended to see again what it saw in an earlier life."""


def _fired_before(scope: OrderedScope, loop: bytes) -> list[tuple[int, float]]:
    """The timers of that loop that fired in earlier lives, and the place after which each did."""
    history = scope.history
    if history.fired_before is None:
        found: dict[bytes, list[tuple[int, float]]] = {}
        for seq in history.timer_notes():
            for one in _FIRED.decode(scope.read(seq).input):
                found.setdefault(one.loop, []).append((one.number, one.after))
        history.fired_before = found
    return history.fired_before.get(loop, [])


class Event:
    """Something that has happened in this process, and that the workflow has not seen. `ready`: it is durable."""

    __slots__ = ("future", "place", "poke", "ready", "timer")

    def __init__(self, place: float, future: asyncio.Future[Any] | None, timer: Timer | None = None) -> None:
        self.place = place
        self.future = future
        self.timer = timer
        self.ready = False
        self.poke: Callable[[], None] | None = None

    def on_durable(self, error: BaseException | None) -> None:
        """What has happened is durable, or cannot be made so."""
        self.ready = True
        if error is not None and self.future is not None:
            settle_future(self.future, error=error)
        if self.poke is not None:
            self.poke()


class EventTurns(ABC):
    """What is to be seen by one async workflow that is executing, and has not been.

    Args:
        scope: the workflow.
        loop: runs it.
        living: its branches that have not been seen to end.
        name: what the notes of its timers call the loop; empty for the one that executes an async workflow.
    """

    def __init__(self, scope: OrderedScope, loop: asyncio.AbstractEventLoop, living: Living, name: bytes = b"") -> None:
        self._scope = scope
        self.loop = loop
        self.living = living
        self.name = name
        self.looked: Any = None  # at the threads of the run, from this loop
        self._ready = ready_on(loop)
        self._can_run_on = shows_ready(loop)
        history = scope.history
        history.read_all()
        fired = _fired_before(scope, name)
        self._replay: DeliveryOrder | None = DeliveryOrder(history, fired) if history.recorded else None
        if self._replay is not None:
            history.replaying = True
        self._waiting: dict[float, asyncio.Future[None]] = {}
        self._resting: list[tuple[str, asyncio.Future[None]]] = []
        self._given_up: list[asyncio.Future[None]] = []
        self._before: dict[asyncio.Future[None], list[Timer]] = {}  # timers, when it came to rest first
        self._parked: set[asyncio.Task[Any] | None] = set()
        self._queue: deque[Event] = deque()
        self._timers: dict[int, Timer] = {}
        self._made = 0
        self._prune_at = 64
        self._scheduled = False
        self._turns = 0
        self._claims = -1
        self._since: float | None = None
        self._said = False
        self._closed = False
        self._unwinding = 0  # maps that were broken off, and end the items that are under way

    def replays(self) -> bool:
        """Has the loop not seen yet all that it saw in an earlier life?"""
        return self._replay is not None and not self._closed

    # -- what waits for its turn --------------------------------------------------------------------------------------

    def alone(self) -> bool:
        """Is there but one branch, and no event before it, so that nothing can come between a call and its end?"""
        if self._closed:
            return True
        if self._queue:
            return False
        living = self.living
        if len(living) > 1 and living[-1].done():
            living.look()
        return len(living) <= 1 and (self._scope.turns is None or self._threads() is None)

    def may_pass(self, seq: float) -> bool:
        """May a call have the record that it has claimed without waiting?"""
        replay = self._replay
        if replay is None or self._closed:
            # All that is held against the script has come again, and this is not: it comes when the workflow has come
            # to rest all the same, as it will in the next life.
            return self.alone()
        return not self._waiting and replay.is_next(seq) and self.alone()

    async def turn(self, place: float) -> None:
        """Wait until everything that came before this place in an earlier life has come again."""
        if self._closed:
            return
        task = asyncio.current_task()
        try:
            await self.queue_up(place, task)
        finally:
            self.step_up(place, task)

    def queue_up(self, place: float, task: asyncio.Task[Any] | None) -> asyncio.Future[None]:
        """The same for a caller that awaits what is returned, and then calls `step_up`: many tasks wait at a time."""
        if self._replay is None:
            return self._happened(place)
        self._replay.wait(place)
        future = self._waiting[place] = self.loop.create_future()
        self._parked.add(task)
        self.poke()
        return future

    def step_up(self, place: float, task: asyncio.Task[Any] | None) -> None:
        """It is the turn of that place, or nobody waits there any more."""
        self._parked.discard(task)
        self._waiting.pop(place, None)
        if self._replay is not None:
            self._replay.leave(place)
        self.poke()

    def expect(self, place: float) -> tuple[asyncio.Future[Any], Callable[[BaseException | None], None]]:
        """Something has happened, and is to be seen when it is durable and it is its turn.

        Returns:
            What is done then, and what is to be called when it is durable, or with the error that keeps it from that.
        """
        future = self.loop.create_future()
        event = Event(place, future)
        event.poke = self.poke
        self._queue.append(event)
        return future, event.on_durable

    def after(self, place: float, durable: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """The same for what is durable when that is done."""
        future, on_durable = self.expect(place)
        durable.add_done_callback(
            lambda ended: on_durable(None if ended.cancelled() else ended.exception()), context=Context()
        )
        return future

    async def pass_by(self, place: float) -> None:
        """Wait for the turn of something that has happened in this process, and that is not written down."""
        if self._replay is not None:
            await self.turn(place)
        else:
            await self._happened(place)

    def _happened(self, place: float) -> asyncio.Future[None]:
        """Something has happened that is durable, or needs not be; it is seen when it is its turn."""
        future = self.loop.create_future()
        event = Event(place, future)
        event.ready = True
        history = self._scope.history
        with self._scope.deciding or nullcontext():
            history.last = max(history.last, place)
        queue = self._queue
        queue.insert(bisect_right(queue, place, key=lambda other: other.place), event)
        self.poke()
        return future

    async def ended(self, place: float) -> None:
        """The same, unless nothing can come between."""
        if not self.may_pass(place):
            await self.pass_by(place)

    async def ended_at_last(self, place: float) -> None:
        """The same for a call that was given up, and has come to its end after some clean-up.

        That is one event, with a place of its own, also if the task is cancelled again before it is seen: that came of
        another event, or is repeated in each turn of the loop, as anyio does it.
        """
        if self.may_pass(place):
            return  # in an earlier life, a timer may have fired before it
        task = asyncio.current_task()
        seen = self.queue_up(place, task)
        try:
            while not seen.done() and self._scope.stopped is None:
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(seen)
        finally:
            self.step_up(place, task)

    @contextmanager
    def mapping(self) -> Iterator[None]:
        """The current task is in a map, whose items are tasks of their own.

        Raises:
            asyncio.CancelledError: the workflow's function is over.
        """
        if self._closed:
            raise asyncio.CancelledError
        task, maps = asyncio.current_task(), self._scope.maps
        assert task is not None
        nested = task in maps
        maps.add(task)
        try:
            yield
        finally:
            if not nested:
                maps.discard(task)

    @contextmanager
    def unwinding(self) -> Iterator[None]:
        """What the workflow has broken off comes to its end inside, before the workflow sees the next event."""
        self._unwinding += 1
        try:
            yield
        finally:
            self._unwinding -= 1

    async def rest(self, name: str) -> None:
        """Wait until the replay has come to rest, or nothing is left that a new call of that name has to wait for."""
        entry = (name, self.loop.create_future())
        self._resting.append(entry)
        try:
            await self._park(entry[1])
        finally:
            self._resting.remove(entry)

    async def given_up(self) -> None:
        """Wait until the current call is given up again, or nothing else moves."""
        future = self.loop.create_future()
        self._given_up.append(future)
        try:
            await self._park(future)
        finally:
            self._given_up.remove(future)
            self._before.pop(future, None)

    @contextmanager
    def parked(self) -> Iterator[None]:
        """The current task is in a durable wait: it rests."""
        task = asyncio.current_task()
        self._parked.add(task)
        self.poke()
        try:
            yield
        finally:
            self._parked.discard(task)

    async def _park(self, future: asyncio.Future[None]) -> None:
        task = asyncio.current_task()
        self._parked.add(task)
        self.poke()
        try:
            await future
        finally:
            self._parked.discard(task)

    # -- timers -------------------------------------------------------------------------------------------------------

    def add_timer(self, timer: Timer) -> Callable[[], None] | None:
        """The workflow makes a timer."""
        if self._closed:
            return None
        self._made += 1
        timer.number = self._made
        if len(self._timers) >= self._prune_at:
            self._timers = {number: each for number, each in self._timers.items() if each.pending()}
            self._prune_at = max(64, 2 * len(self._timers))
        self._timers[timer.number] = timer
        if self._replay is not None:
            self.poke()
        return lambda: self._on_due(timer)

    def _on_due(self, timer: Timer) -> None:
        timer.due = True
        if self._closed:
            timer.fire(self.loop)
        elif self._replay is None:
            self._enqueue(timer)
        self.poke()

    def _enqueue(self, timer: Timer) -> None:
        history, tells_nothing = self._scope.history, self._tells_nothing()
        with self._scope.deciding or nullcontext():
            if not tells_nothing:
                history.timer_fired(timer.number, self.name)
            event = Event(history.last, None, timer)
        event.ready = True
        self._queue.append(event)

    def _tells_nothing(self) -> bool:
        """Could nothing else have happened than that a timer fires, so that the replay needs no word of it?"""
        return not (
            self._scope.running
            or self._scope.maps
            or self._queue
            or sum(each.pending() for each in self._timers.values()) > 1
            or self._threads() is not None
            or self._on_their_way()  # such as a request that the workflow itself makes
        )

    # -- something has changed -----------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Something has changed: look, in the next turn of the loop, whether something can come."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self.loop.call_soon(self._look, context=Context())

    def poke_from_thread(self) -> None:
        """The same, on another thread than the loop's."""
        with suppress(RuntimeError):  # the loop has been closed
            self.loop.call_soon_threadsafe(self.poke, context=Context())

    @abstractmethod
    def _threads(self) -> LoopThreads | None:
        """The threads whose turns are in one order with the events; None if there are none."""

    @abstractmethod
    def _on_their_way(self) -> bool:
        """Is a branch on its way to something, or waits for something that is not of the workflow?"""

    @abstractmethod
    def _look(self) -> None:
        """Let come what can come."""
