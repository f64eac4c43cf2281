"""The order in which an async workflow sees what happens: one event at a time, and on resume the same order again.

An event is a call that has ended, or a timer of the workflow that is due. Each is seen when the workflow has come to
rest after the one before, so what it does is determined by the order of the events alone, and that is recorded.
docs/decisions/0019-races.md says why.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import Context
from typing import Any, Protocol

import msgspec

from perdure.core.execution.branch import Branch
from perdure.core.execution.delivery_order import OVER, Deliver, DeliveryOrder, Fire
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.records import StepRecord
from perdure.engines.interface import here
from perdure.engines.runtime.awaiting import rests
from perdure.engines.runtime.ready_handles import ready_on, shows_ready
from perdure.engines.runtime.workflow_timers import Timer

MOST_TURNS = 200
"""Turns of the loop after which a workflow that is busy all the time (it polls something) sees the next event."""
AT_ONCE = 64
"""Events that are seen in one turn of the loop, at most: it has others to serve."""
MOST_HANDLES = 200
"""The same for what the workflow does because of one event."""
QUIET_TURNS = 20
"""Turns of a loop of which it cannot be known what is ready, after which the workflow is taken to be at rest."""
PATIENCE = 30.0
"""Seconds for a branch that awaits something outside of the workflow between its steps."""
_FIRED = msgspec.msgpack.Decoder(list[tuple[int, float]])


class OrderedScope(Protocol):
    """A running workflow."""

    history: History
    main: Branch | None
    family: object
    running: set[asyncio.Task[Any]]
    maps: set[asyncio.Task[Any]]
    settling: list[tuple[Call, Branch | None]]
    executing: int
    deciding: AbstractContextManager[Any] | None

    def read(self, seq: int) -> StepRecord:
        """The record of that number."""

    def look_again(self, waited: float) -> float:
        """In how many seconds to look again at a branch that is on its way, after it was waited for so long."""

    def notify_waiting(self, reason: str) -> None:
        """Say that the replay waits for something."""


class _Event:
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
        if error is not None and self.future is not None and not self.future.done():
            self.future.set_exception(error)
        if self.poke is not None:
            self.poke()


class EventOrder:
    """The events of one async workflow that is executing.

    Args:
        scope: the workflow.
        loop: runs it.
    """

    def __init__(self, scope: OrderedScope, loop: asyncio.AbstractEventLoop) -> None:
        self._scope = scope
        self.loop = loop
        self._ready = ready_on(loop)
        self._can_run_on = shows_ready(loop)
        history = scope.history
        fired = [entry for seq in history.timer_notes() for entry in _FIRED.decode(scope.read(seq).input)]
        self._replay: DeliveryOrder | None = DeliveryOrder(history, fired) if history.recorded else None
        history.replaying = self._replay is not None
        self._waiting: dict[float, asyncio.Future[None]] = {}
        self._resting: list[tuple[str, asyncio.Future[None]]] = []
        self._given_up: list[asyncio.Future[None]] = []
        self._parked: set[asyncio.Task[Any] | None] = set()
        self._queue: deque[_Event] = deque()
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

    def close(self) -> None:
        """The workflow's function is over."""
        self._closed = True
        for event in self._queue:
            self._deliver(event)
        self._queue.clear()
        for future in self._waiting.values():
            _release(future)

    # -- what waits for its turn --------------------------------------------------------------------------------------

    def alone(self) -> bool:
        """Is there but one branch, and no event before it, so that nothing can come between a call and its end?"""
        main = self._scope.main
        if main is None or self._closed:
            return True
        if self._queue:
            return False
        living = main.living
        if len(living) == 1:
            return True
        if living[-1].done():
            living[:] = [branch for branch in living if not branch.done()]
        return len(living) <= 1

    def may_pass(self, seq: int) -> bool:
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
        event = _Event(place, future)
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
        event = _Event(place, future)
        event.ready = True
        history = self._scope.history
        history.last = max(history.last, place)
        queue = self._queue
        queue.insert(bisect_right(queue, place, key=lambda other: other.place), event)
        self.poke()
        return future

    async def ended(self, place: float) -> None:
        """The same, unless nothing can come between."""
        if not self.alone():
            await self.pass_by(place)

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

    def only_waits(self, waiting: Collection[Any], carriers: Collection[Any]) -> bool:
        """Are all branches in durable waits, or wait for those that are, and is nothing else on its way?

        Args:
            waiting: the tasks that are in durable waits.
            carriers: the tasks that execute a child run, which answers for itself.
        """
        scope = self._scope
        under_way = self._queue or self._waiting or self._resting or self._given_up or self._unwinding
        if self._closed or self._replay is not None or under_way or scope.executing or scope.maps or self._busy():
            return False
        if not hasattr(self.loop, "__dict__") or any(timer.pending() for timer in self._timers.values()):
            return False  # of a loop that cannot be watched, the timers are not known
        assert scope.main is not None
        living: list[Any] = [branch.task for branch in list(scope.main.living) if not branch.done()]

        def known(task: asyncio.Task[Any]) -> bool | None:
            if task in waiting or task in carriers:
                return True
            return False if task in scope.running else None

        return all(rests(task, known, living) for task in living)

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
        history = self._scope.history
        # Where nothing else could have happened, the replay needs no word of it.
        if (
            self._scope.running
            or self._scope.maps
            or self._queue
            or sum(each.pending() for each in self._timers.values()) > 1
        ):
            history.timer_fired(timer.number)
        event = _Event(history.last, None, timer)
        event.ready = True
        self._queue.append(event)

    def _fire(self, timer: Timer) -> None:
        self._timers.pop(timer.number, None)
        timer.fire(self.loop)

    # -- one event after the other ------------------------------------------------------------------------------------

    def poke_from_thread(self) -> None:
        """The same, on another thread than the loop's."""
        with suppress(RuntimeError):  # the loop has been closed
            self.loop.call_soon_threadsafe(self.poke, context=Context())

    def poke(self) -> None:
        """Something has changed: look, in the next turn of the loop, whether something can come."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self.loop.call_soon(self._look, context=Context())

    def _look(self) -> None:
        """Let come what can come; `_scheduled` all the while, since it is looked at again anyway."""
        again = True
        try:
            again = not self._closed and self._look_on()
        finally:
            self._scheduled = False
            if again:
                self.poke()

    def _look_on(self) -> bool:
        """The same. Is there to be another look in the next turn of the loop?"""
        if self._busy():
            self._turns += 1
            return True
        patient = self._turns < MOST_TURNS
        self._turns = 0
        for _ in range(AT_ONCE):
            before = 0 if self._ready is None else len(self._ready)
            if self._resting:
                self._wake_new_calls()
            if not self._let_come():
                return False
            if not patient or not self._run_on(before):
                return True
        return True

    def _let_come(self) -> bool:
        """Deliver the next event, if there is one."""
        if self._replay is not None and self._replay_next(self._replay):
            self._since, self._said = None, False
            return True
        if self._next():
            return True
        if self._replay is None and self._given_up:
            self._make_what_was_given_up()
        return False

    def _run_on(self, at: int) -> bool:
        """Let the workflow do what it does because of an event, without waiting for the loop's next turn.

        Args:
            at: how many handles were ready before.

        Returns:
            Has it come to rest?
        """
        ready = self._ready
        if not self._can_run_on or self._closed or self._unwinding:
            return False
        family = self._scope.family
        for _ in range(MOST_HANDLES):
            while at < len(ready):
                handle = ready[at]
                if not handle._cancelled and getattr(handle._context.get(here), "family", None) is family:
                    break
                at += 1
            else:
                return not self._closed and not self._unwinding
            del ready[at]
            handle._run()
        return False

    def _busy(self) -> bool:
        """Does the workflow's own code still run, because of what it saw last?"""
        if self._ready is None:
            if self._scope.history.claims != self._claims:
                self._claims, self._turns = self._scope.history.claims, 0
            return self._turns < QUIET_TURNS
        if self._turns >= MOST_TURNS:
            return False
        if self._unwinding:
            return True
        family = self._scope.family
        try:
            for handle in self._ready:
                if getattr(handle._context.get(here), "family", None) is family and not handle._cancelled:
                    return True
        except RuntimeError:  # another thread has added to it meanwhile
            return True
        return False

    def _next(self) -> bool:
        """Deliver the next event of this process."""
        queue = self._queue
        while queue:
            event = queue[0]
            if event.future is not None and event.future.done():
                queue.popleft()  # given up meanwhile
            elif not event.ready:
                return False
            else:
                queue.popleft()
                if self._deliver(event):
                    return True
        return False

    def _deliver(self, event: _Event) -> bool:
        if event.timer is None:
            assert event.future is not None
            _release(event.future)
        elif event.timer.pending():
            self._fire(event.timer)
        else:
            return False
        return True

    # -- replay -------------------------------------------------------------------------------------------------------

    def _replay_next(self, replay: DeliveryOrder) -> bool:
        """Let come what came next in an earlier life; False if there is nothing to let come now."""
        timers = self._timers
        if timers:
            timers = {number: timer for number, timer in timers.items() if timer.pending()}
        following = replay.next(timers, self._made)
        if isinstance(following, Fire):
            self._fire(timers[following.number])
            return True
        if isinstance(following, Deliver):
            return self._arrive(following.place)
        if following == OVER:
            return self._end_replay(timers)
        if self._on_their_way():
            return self._be_patient(replay, timers)
        # What is recorded next is not asked for, or is a timer that is not made: in an unedited script, a timer came
        # first that nothing else could.
        place = replay.first_waiting()
        if place is not None and replay.pass_by_timer(self._made):
            return True
        if self._fire_first(timers.values() if not self._scope.history.rested else self._due(timers)):
            return True
        if replay.pass_by_timer(self._made):
            return True
        if place is not None:
            return self._arrive(place)  # the script was edited: the records before it are not asked for
        return self._come_to_rest()

    def _due(self, timers: dict[int, Timer]) -> list[Timer]:
        return [timer for timer in timers.values() if timer.due]

    def _fire_first(self, timers: Collection[Timer]) -> bool:
        if timers:
            self._fire(min(timers, key=lambda timer: (timer.handle.when(), timer.number)))
        return bool(timers)

    def _arrive(self, place: float) -> bool:
        assert self._replay is not None
        self._replay.leave(place)
        _release(self._waiting.pop(place))
        return True

    def _end_replay(self, timers: dict[int, Timer]) -> bool:
        """All that is recorded has come again. What is still waited for is waited for in real time."""
        self._replay = None
        self._scope.history.replaying = False
        for _, future in self._resting:
            _release(future)
        for timer in sorted(self._due(timers), key=lambda each: each.handle.when()):
            self._enqueue(timer)
        return True

    def _come_to_rest(self) -> bool:
        """Nothing moves: calls that have no record are judged, and those that were given up are made after all."""
        for future in self._given_up:
            _release(future)
        for _, future in self._resting:
            _release(future)
        return False

    def _make_what_was_given_up(self) -> None:
        """The replay is over, and calls that were given up in an earlier life are waited for: the script was edited."""
        if not self._queue and not self._on_their_way():
            self._come_to_rest()
        else:
            self.loop.call_later(self._scope.look_again(0.0), self.poke, context=Context())

    def _wake_new_calls(self) -> None:
        for name, future in self._resting:
            if not self._scope.history.unsettled(name):
                _release(future)

    def _on_their_way(self) -> bool:
        scope = self._scope
        if scope.executing:
            return True
        assert scope.main is not None
        living = [branch for branch in list(scope.main.living) if not branch.done()]
        if scope.deciding is None:
            branches: list[Any] = [branch.task for branch in living]
            return not all(rests(task, self._known, branches) for task in branches)
        from perdure.engines.runtime.thread_branches import ThreadTask
        from perdure.engines.runtime.thread_rest import working

        if working(scope):
            return True
        # A task that has started a thread waits for it, as far as that can be seen.
        starters = {branch.parent for branch in living if isinstance(branch.task, ThreadTask)}
        tasks = [each for each in living if not isinstance(each.task, ThreadTask) and each not in starters]
        return not all(self.task_rests(each.task) for each in tasks if self.is_mine(each.task))

    def task_rests(self, task: Any) -> bool:
        """Does a task of the workflow wait for something of the workflow's own?"""
        main = self._scope.main
        assert main is not None
        living: list[Any] = [branch.task for branch in list(main.living) if not branch.done()]
        return rests(task, self._known, [one for one in living if self.is_mine(one)])

    def is_mine(self, task: Any) -> bool:
        """Is it a task of the loop that executes the workflow?"""
        return isinstance(task, asyncio.Task) and task.get_loop() is self.loop

    def _known(self, task: asyncio.Task[Any]) -> bool | None:
        if task in self._parked:
            return True
        return False if task in self._scope.running else None

    def _be_patient(self, replay: DeliveryOrder, timers: dict[int, Timer]) -> bool:
        """A branch executes, or awaits something that is not of the workflow: let time pass as it does."""
        if self._fire_first(self._due(timers)):
            return True
        scope, now = self._scope, self.loop.time()
        if self._since is None:
            self._since = now
        waited = now - self._since
        if waited >= PATIENCE and not scope.executing:
            # It may be the one that waits, whatever it awaits. But nothing is held against it as long as it may not.
            place = replay.first_waiting()
            if place is not None:
                return self._arrive(place)
            if not any(scope.history.doubtful(call.spec.name) for call, _ in scope.settling):
                return self._come_to_rest()
            self._say_what_is_waited_for()
        if self._resting or self._given_up or self._waiting or timers:
            self.loop.call_later(scope.look_again(waited), self.poke, context=Context())
        return False

    def _say_what_is_waited_for(self) -> None:
        if not self._said:
            self._said = True
            self._scope.notify_waiting(
                "a branch awaits something that is no step, and its next call is compared with the records before "
                "anything new is executed"
            )


def _release(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
