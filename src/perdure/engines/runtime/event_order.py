"""The order in which an async workflow sees what happens: one event at a time, and on resume the same order again.

An event is a call that has ended, or a timer of the workflow that is due. Each is seen when the workflow has come to
rest after the one before, so what it does is determined by the order of the events alone, and that is recorded.
docs/decisions/0019-races.md says why.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from contextvars import Context
from typing import TYPE_CHECKING, Any

from perdure.core.execution.branch import Branch
from perdure.core.execution.delivery_order import BLOCKED, OVER, Deliver, DeliveryOrder, Fire, Next
from perdure.engines.interface import here
from perdure.engines.runtime.awaiting import rests
from perdure.engines.runtime.event_turns import Event, EventTurns
from perdure.engines.runtime.loop_futures import settle_future
from perdure.engines.runtime.workflow_timers import Timer

if TYPE_CHECKING:
    from perdure.engines.runtime.loop_threads import LoopThreads

MOST_TURNS = 200
"""Turns of the loop after which a workflow that is busy all the time (it polls something) sees the next event."""
AT_ONCE = 64
"""Events that are seen in one turn of the loop, at most: it has others to serve."""
MOST_HANDLES = 200
"""The same for what the workflow does because of one event."""
QUIET_TURNS = 20
"""Turns of a loop of which it cannot be known what is ready, after which the workflow is taken to be at rest."""
ENDS_LOOP = (asyncio.base_events._run_until_complete_cb,)  # type: ignore[attr-defined]
"""What stops a loop when what it was run for is done."""
PATIENCE = 30.0
"""Seconds for a branch that awaits something outside of the workflow between its steps."""


class EventOrder(EventTurns):
    """The events of one async workflow that is executing.

    Args:
        scope: the workflow.
        loop: runs it.
        living: its branches that have not been seen to end.
        name: what the notes of its timers call the loop; empty for the one that executes an async workflow.
    """

    line: Branch | None = None
    """The branch that runs the loop, if it is one."""
    looks = 0
    """How often it has looked whether something can come."""
    _beside: LoopThreads | None = None

    def close(self) -> None:
        """The workflow's function is over."""
        self._closed = True
        for event in self._queue:
            self._deliver(event)
        self._queue.clear()
        for future in self._waiting.values():
            settle_future(future)
        if self._scope.turns is not None:
            self._scope.turns.wake()

    def is_closed(self) -> bool:
        """Is the workflow's function over?"""
        return self._closed

    def _threads(self) -> LoopThreads | None:
        """The threads whose turns are in one order with the events; None if there are none."""
        turns = self._scope.turns
        if turns is None or turns.is_over():
            return None
        if self._beside is None:
            from perdure.engines.runtime.loop_threads import LoopThreads

            self._beside = LoopThreads(self.loop, turns, self.poke)
        return self._beside

    def is_quiet(self) -> bool:
        """Is there nothing that the loop is about to let come, as far as another thread can see?"""
        return True

    def only_waits(self, waiting: Collection[Any], carriers: Collection[Any]) -> bool:
        """Are all branches in durable waits, or wait for those that are, and is nothing else on its way?

        Args:
            waiting: the tasks that are in durable waits.
            carriers: the tasks that execute a child run, which answers for itself.
        """
        scope = self._scope
        under_way = self._queue or self._waiting or self._resting or self._given_up or self._unwinding
        if (turns := self._scope.turns) is not None and turns.places():
            return False
        if self._closed or self._replay is not None or under_way or scope.executing or scope.maps or self._busy():
            return False
        if not hasattr(self.loop, "__dict__") or any(timer.pending() for timer in self._timers.values()):
            return False  # of a loop that cannot be watched, the timers are not known
        living, jobs = self._tasks(), set()
        if scope.deciding is not None:
            from perdure.engines.runtime.thread_rest import others, working

            if working(scope, self):
                return False
            jobs = {getattr(one.task, "future", None) for one in others(scope, self)} - {None}

        def known(task: asyncio.Task[Any]) -> bool | None:
            if task in waiting or task in carriers:
                return True
            return False if task in scope.running else None

        return all(rests(task, known, living, jobs) for task in living)

    def _fire(self, timer: Timer) -> None:
        self._timers.pop(timer.number, None)
        timer.fire(self.loop)

    # -- one event after the other ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Let come what can come; `_scheduled` all the while, since it is looked at again anyway."""
        again = True
        self.looks += 1
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
            if self._beside is not None:
                self._beside.stir()
            return True
        patient = self._turns < MOST_TURNS
        for _ in range(AT_ONCE):
            threads = None if self._scope.turns is None else self._threads()
            if threads is not None and (rest := self._rest_of(threads)) is not True:
                return rest is None
            before = 0 if self._ready is None else len(self._ready)
            self._turns = 0
            if self._resting:
                self._wake_new_calls()
            if not self._let_come():
                return False
            if not patient or not self._run_on(before):
                return True
        return True

    def _rest_of(self, threads: LoopThreads) -> bool | None:
        """Do the threads rest, so that the next can come? If not: see `LoopThreads.rest`."""
        replay = self._replay
        if replay is not None:
            threads.take_part(replay)
        place = self._next_place(threads)
        if replay is None and place is None:
            return True
        rest = threads.rest(place, self._is_empty)
        if replay is not None:
            threads.take_part(replay)  # those that have come to wait meanwhile
        return rest

    def _next_place(self, threads: LoopThreads) -> float | None:
        """The place of what is to come next, to a task or to a thread; None if nothing is."""
        if self._replay is not None:
            return self._replay.first_waiting()
        place = threads.first()
        if self._queue and (place is None or self._queue[0].place < place):
            place = self._queue[0].place
        return place

    def _is_empty(self) -> bool:
        """Has the loop nothing to run at this moment, as far as it shows?"""
        return self._can_run_on and not self._ready

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
            if handle._callback in ENDS_LOOP or handle._callback == self.loop.stop:
                return False  # in a turn of the loop's own: what is ready beside it may have no other
            del ready[at]
            handle._run()
            del handle  # what fails in one of them has a traceback that leads here
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
        """Deliver the next event of this process, or of its threads."""
        queue = self._queue
        if self._beside is not None and self._beside.give_before(queue[0].place if queue else math.inf):
            return True
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

    def _deliver(self, event: Event) -> bool:
        if event.timer is None:
            assert event.future is not None
            settle_future(event.future)
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
        if following == BLOCKED:
            following = self._next_of_its_own(replay, timers)
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
        if place is not None and self._pass_by_timer(replay):
            return True
        if self._fire_first(timers.values() if not self._scope.history.rested else self._due(timers)):
            return True
        if self._pass_by_timer(replay):
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

    def _pass_by_timer(self, replay: DeliveryOrder) -> bool:
        return replay.pass_by_timer(self._made)

    def _arrive(self, place: float) -> bool:
        assert self._replay is not None
        self._replay.leave(place)
        waiting = self._waiting.pop(place, None)
        if waiting is not None:
            settle_future(waiting)
        elif self._beside is not None:
            self._beside.give(place)
        return True

    def _end_replay(self, timers: dict[int, Timer]) -> bool:
        """All that is recorded has come again. What is still waited for is waited for in real time."""
        self._replay = None
        self._scope.note_replays()
        for _, future in self._resting:
            settle_future(future)
        for timer in sorted(self._due(timers), key=lambda each: each.handle.when()):
            self._enqueue(timer)
        return True

    def _come_to_rest(self) -> bool:
        """Nothing moves: calls that have no record are judged, and those that were given up are made after all.

        Not while a timer of the workflow is pending that was there when such a call came to rest first: it may be what
        gives the call up again.
        """
        pending = [timer for timer in self._timers.values() if timer.pending()]
        for future in self._given_up:
            if not any(timer.pending() for timer in self._before.setdefault(future, pending)):
                settle_future(future)
        for _, future in self._resting:
            settle_future(future)
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
                settle_future(future)

    def _on_their_way(self) -> bool:
        scope = self._scope
        if scope.executing:
            return True
        tasks = self._tasks()
        if scope.deciding is None:
            return not all(rests(task, self._known, tasks) for task in tasks)
        from perdure.engines.runtime.thread_rest import starters, working

        if working(scope, self):
            return True
        # A task that has started a thread waits for it, as far as that can be seen.
        waiting = starters(scope)
        return not all(rests(task, self._known, tasks) for task in tasks if task not in waiting)

    def task_rests(self, task: Any) -> bool:
        """Does a task of the workflow wait for something of the workflow's own, such as a job of a thread?"""
        from perdure.engines.runtime.thread_rest import others

        jobs = {getattr(one.task, "future", None) for one in others(self._scope, self)} - {None}
        return rests(task, self._known, self._tasks(), jobs)

    def others_rest(self) -> bool:
        """The current task keeps the loop. Do all others, and the threads of the run, wait for the workflow's own?"""
        scope, tasks, this = self._scope, self._tasks(), asyncio.current_task()
        if scope.executing or not all(rests(task, self._known, tasks) for task in tasks if task is not this):
            return False
        if scope.deciding is None:
            return True
        from perdure.engines.runtime.thread_rest import working

        return not working(scope, self)

    def _tasks(self) -> list[Any]:
        """The tasks of the workflow in this loop that have not ended."""
        return [branch.task for branch in list(self.living) if self.is_mine(branch.task) and not branch.done()]

    def _next_of_its_own(self, replay: DeliveryOrder, timers: dict[int, Timer]) -> Next:
        """What comes next although an earlier record is left: nothing, in a loop that executes a whole workflow."""
        return BLOCKED

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
