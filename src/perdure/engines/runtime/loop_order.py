"""The order in which an event loop that a workflow runs itself sees what happens; see `event_order`.

Such a loop shares the history of its run with the code around it, with threads and with other loops. A record does not
say whose it is, so what the loop has not asked for may be of another. It waits for that only as long as a task of its
own may still ask for it. Where threads take part, what it sees has its turn among what they see (`loop_among_threads`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from contextvars import Context
from math import inf, nextafter
from threading import get_ident
from typing import TYPE_CHECKING, Any

from perdure.core.execution.branch import Branch, Living
from perdure.core.execution.delivery_order import BLOCKED, OVER, DeliveryOrder, Next
from perdure.engines.interface import here
from perdure.engines.runtime.awaiting import rests
from perdure.engines.runtime.event_order import EventOrder
from perdure.engines.runtime.loop_futures import settle_future
from perdure.engines.runtime.workflow_timers import Timer

if TYPE_CHECKING:
    from perdure.engines.runtime.loop_among_threads import LoopAmongThreads
    from perdure.engines.runtime.loop_threads import LoopThreads


class LoopOrder(EventOrder):
    """The events of one such loop.

    Args:
        scope: the workflow.
        loop: which.
        line: the branch that runs it.
        name: what the notes of its timers call it.
    """

    def __init__(self, scope: Any, loop: asyncio.AbstractEventLoop, line: Branch, name: bytes) -> None:
        super().__init__(scope, loop, Living(), name)
        self.line = line
        self.ident = get_ident()
        self.root: Branch | None = None
        self.entered = 0
        self._among: LoopAmongThreads | None = None
        self._settled = False
        if self._replay is not None and self._replay.is_over():
            self._replay = None

    def take(self, task: Any, parent: Branch) -> Branch:
        """A task of the loop is a branch."""
        branch = Branch(task, parent)
        self.living.take(branch)
        return branch

    def take_root(self, task: Any) -> Branch:
        """The same for one that carries the line on which the loop runs."""
        assert self.line is not None
        self.root = branch = self.take(task, self.line)
        branch.path = self.line.path
        self.line.children -= 1
        return branch

    def enter(self) -> None:
        """This thread runs the loop from here on."""
        self.entered += 1
        self.ident = get_ident()
        self.runs_here()

    def runs_here(self) -> None:
        """This thread runs the loop: it is one of those whose turns are in order."""
        turns: Any = self._scope.turns
        task = None if turns is None else turns.thread(self.ident)
        if task is not None and (self._among is None or self._among.task is not task):
            from perdure.engines.runtime.loop_among_threads import LoopAmongThreads

            self._among = LoopAmongThreads(self, turns, task)
        if task is not None and self._among is not None:
            turns.loops[self.ident] = self._among

    def leave(self) -> None:
        """It does not any more."""
        self.entered -= 1
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        turns = self._scope.turns
        if turns is not None and self._among is not None and turns.loops.get(self.ident) is self._among:
            del turns.loops[self.ident]
            self._among.step_up()

    def replays(self) -> bool:
        """Does the loop run, and has it not seen yet all that it saw in an earlier life?"""
        return super().replays() and (self.entered > 0 or self.loop.is_running())

    def is_quiet(self) -> bool:
        """Is there nothing that the loop is about to let come, as far as another thread can see?"""
        if not self.loop.is_running():
            return True  # its thread says what it is at
        under_way = self._queue or self._waiting or (self._replay is not None and not self._settled)
        return not under_way and not self._has_ready()

    def goes_on_by_itself(self) -> bool:
        """May a timer wake a task of the loop, or has it something to see, as far as another thread sees?"""
        if self.loop.is_closed():
            return False
        under_way = self._replay is not None or self._resting or self._given_up or self._unwinding or self._queue
        watched = hasattr(self.loop, "__dict__")  # else its timers are not known
        return bool(under_way) or not watched or any(timer.pending() for timer in list(self._timers.values()))

    def is_about_to(self, seq: float) -> bool:
        """Has the loop something to run, or to let come that is before that place, as far as another thread sees?"""
        try:
            waiting = min(self._waiting, default=inf)
        except RuntimeError:  # it has gone on meanwhile
            return True
        # What a thread has handed to it is in no context of the workflow's.
        ready = bool(self._ready) if self._can_run_on else self._has_ready()
        return ready or self._scheduled or min(waiting, self._first_place()) < seq

    def _first_place(self) -> float:
        """Of what has happened in this process."""
        for event in list(self._queue)[:1]:
            return event.place if event.timer is None else nextafter(event.place, inf)  # after that record
        return inf

    def _has_ready(self) -> bool:
        family = self._scope.family
        return any(
            getattr(handle._context.get(here), "family", None) is family and not handle._cancelled
            for handle in list(self._ready or ())
        )

    async def rest(self, name: str) -> None:
        """Wait until the loop has seen again what it saw in an earlier life, or nothing moves in it."""
        if self._replay is not None and not self._closed:
            await super().rest(name)

    def end(self) -> None:
        """The workflow's function is over, or the loop is: nothing waits for its turn any more."""
        if self.loop.is_closed():
            self._closed, self.root = True, None
            self.living.clear()
        elif self.loop.is_running() and self.ident != get_ident():
            with suppress(RuntimeError):  # it has been closed meanwhile
                self.loop.call_soon_threadsafe(self.close, context=Context())
        else:
            self.close()

    def close(self) -> None:
        """The same, in the thread that runs the loop."""
        self._stop_waiting()
        super().close()
        for future in [*(future for _, future in self._resting), *self._given_up]:
            settle_future(future)

    def _look_on(self) -> bool:
        self._settled = False
        return super()._look_on()

    def _come_to_rest(self) -> bool:
        self._settled = True
        return super()._come_to_rest()

    def _next_of_its_own(self, replay: DeliveryOrder, timers: dict[int, Timer]) -> Next:
        """What comes next if all tasks of the loop rest: nothing else can happen in it."""
        if not self._rests():
            return BLOCKED
        following = replay.next_of_its_own(timers, self._made)
        beside = self._has_threads() and self._threads() is None
        return OVER if following == BLOCKED and not replay.has_timers() and beside else following

    def _threads(self) -> LoopThreads | None:
        """The threads and loops beside which it has its turn; None if there are none, or it is run by none of them."""
        turns = self._scope.turns
        if self._among is None or turns is None or not self._has_threads() or turns.is_over():
            return None
        self._beside = self._among
        return self._among

    def _next_place(self, threads: LoopThreads) -> float | None:
        place, replay = self._first_place(), self._replay
        if replay is not None:
            pending = {number for number, timer in self._timers.items() if timer.pending()}
            own = replay.place_of_its_own(pending, self._made)
            place = place if own is None else min(place, own)
        return None if place == inf else place

    def _on_due(self, timer: Timer) -> None:
        replay = self._replay
        if replay is not None and not self._closed and self._threads() is not None:
            timer.due = True
            if not replay.has_timer(timer.number):
                self._enqueue(timer)  # among threads it has a place, whatever is left to be seen again
            self.poke()
        else:
            super()._on_due(timer)

    def _due(self, timers: dict[int, Timer]) -> list[Timer]:
        queued = {event.timer for event in self._queue}
        return [timer for timer in super()._due(timers) if timer not in queued]

    def _pass_by_timer(self, replay: DeliveryOrder) -> bool:
        # It may be made yet, because of what comes to a thread or another loop.
        return self._threads() is None and super()._pass_by_timer(replay)

    def _on_their_way(self) -> bool:
        turns = self._scope.turns
        return (self._threads() is not None and turns is not None and bool(turns.places())) or super()._on_their_way()

    def _fire_first(self, timers: Collection[Timer]) -> bool:
        return self._threads() is None and super()._fire_first(timers)

    def _has_threads(self) -> bool:
        """Do threads take part in the run, or did they? Then what is left of the history may be theirs.

        So each timer that fires is recorded, also if nothing else could have happened.
        """
        scope: Any = self._scope
        return bool(scope.thread_numbers or scope.visitors)

    def _tells_nothing(self) -> bool:
        return super()._tells_nothing() and not self._has_threads()

    def _rests(self) -> bool:
        scope, tasks = self._scope, self._tasks()
        if scope.executing and any(map(self.is_mine, scope.maps)):
            return False  # what a map executes is in no task of the workflow
        if self._threads() is not None:  # those that rest as well: what a task awaits may be theirs
            return all(self._known(task) is not False for task in tasks)
        return all(rests(task, self._known, tasks) for task in tasks)
