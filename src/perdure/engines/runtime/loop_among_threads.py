"""An event loop that a workflow, or a thread of it, runs itself, as one of the threads of the run.

What comes to its tasks next has a place in the order of what comes to threads, and waits for its turn there. So what
comes in several loops and threads is one order.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import Protocol

from perdure.core.execution.delivery_order import DeliveryOrder
from perdure.engines.runtime import thread_states
from perdure.engines.runtime.loop_threads import LoopThreads
from perdure.engines.runtime.ready_handles import shows_ready
from perdure.engines.runtime.thread_branches import ThreadTask
from perdure.engines.runtime.thread_turns import HEAD_SECONDS, ThreadTurns, Waiting

_SELECTORS = os.path.normpath(selectors.__file__)


class OrderOfLoop(Protocol):
    """The order of the loop's own events."""

    loop: asyncio.AbstractEventLoop
    looks: int

    def poke(self) -> None:
        """Have the loop look again what comes next."""

    def poke_from_thread(self) -> None:
        """The same, on another thread than the loop's."""

    def replays(self) -> bool:
        """Has the loop not seen yet all that it saw in an earlier life?"""

    def is_about_to(self, seq: float) -> bool:
        """Has the loop something to run, or to let come that is before that place?"""


class LoopAmongThreads(LoopThreads):
    """The threads and other loops of the run, as such a loop sees them, and the loop as they see it.

    Args:
        order: of its events.
        turns: the threads of its run.
        task: the thread that runs it.
    """

    def __init__(self, order: OrderOfLoop, turns: ThreadTurns, task: ThreadTask) -> None:
        super().__init__(order.loop, turns, order.poke, task)
        self.task = task
        self._order = order
        self._mine: Waiting | None = None
        self._woken = False
        self._kept = False
        self._in_select = shows_ready(order.loop)

    # -- as the loop sees it ------------------------------------------------------------------------------------------

    def first(self) -> None:
        """Threads take their turns themselves."""

    def give(self, place: float) -> bool:
        """Likewise."""
        return False

    def give_before(self, place: float) -> bool:
        """Likewise."""
        return False

    def take_part(self, replay: DeliveryOrder) -> None:
        """Likewise."""

    def rest(self, place: float | None, is_empty: Callable[[], bool]) -> bool | None:
        """Is it the turn of what the loop is to see at that place? See `LoopThreads.rest`."""
        self._woken = False
        mine = self._mine
        if mine is not None and mine.seq != place:
            self.step_up()
            mine = None
        if place is None:
            return super().rest(None, is_empty) if self._order.replays() else True
        turns = self._turns
        if mine is None:
            mine = self._mine = Waiting(place, self.task, self)
            turns.queue_up(mine)
            turns.look()
        if mine.given:
            self._mine = None
            return True
        if turns.loop_gives() or not turns.is_first(mine):
            self._look_later(HEAD_SECONDS)
            return False
        rest = super().rest(place, is_empty)
        if rest and not turns.is_first(mine):  # one that was on its way has come to wait before it
            return None
        if rest:
            self.step_up()
        return rest

    def step_up(self) -> None:
        """The loop does not wait for a turn any more."""
        mine, self._mine = self._mine, None
        if mine is not None:
            self._turns.step_up(mine)
            self._turns.look()

    # -- as other threads see it --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """It may be its turn now."""
        if self._woken:
            return
        self._woken = True
        if get_ident() == self.task.ident:
            self._order.poke()
        else:
            self._order.poke_from_thread()

    def look_whether_kept(self) -> bool:
        """Does a task keep the loop, in a sync step or in a wait for a thread?"""
        if not self.task.calls:
            frame = thread_states.frames().get(self.task.ident or 0)
            self._kept = frame is not None and not self._selects(frame) and self._turns.is_kept(frame, self.task.native)
        return self.is_kept

    @property
    def is_kept(self) -> bool:
        """Was it seen that one does?"""
        return self._kept or self.task.calls > 0

    def seen(self) -> int:
        """How often it has looked what comes next: it goes on."""
        return self._order.looks

    def rests_beside(self, seq: float, frame: FrameType, native: int | None) -> bool:
        """Has the loop come to rest, with nothing that comes before that place? Its thread has that innermost frame."""
        if not self._selects(frame):
            return self._turns.is_kept(frame, native)
        # A thread that had something for the loop has rested since. Has the loop gone on with it meanwhile?
        return not self._order.is_about_to(seq) and thread_states.frames().get(self.task.ident or 0) is frame

    def _selects(self, frame: FrameType) -> bool:
        """Does the loop wait, as far as the innermost frame of its thread shows it?"""
        if not self._in_select or not self._order.loop.is_running():
            return False
        return frame.f_code.co_name == "select" and os.path.normpath(frame.f_code.co_filename) == _SELECTORS
