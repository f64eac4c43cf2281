"""The threads of an async workflow, as its event loop sees them: what comes to them is in one order with its events.

The loop says whose turn it is, since it has the timers and the replay. What comes to a thread comes when nothing is
ready in the loop, and what comes to a task when all threads rest (`thread_turns`) and the loop has run what they have
handed to it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from perdure.core.execution.delivery_order import DeliveryOrder

if TYPE_CHECKING:
    from perdure.engines.runtime.moving_threads import Seen
    from perdure.engines.runtime.thread_branches import ThreadTask
    from perdure.engines.runtime.thread_turns import ThreadTurns

SHORTEST_PAUSE, LONGEST_PAUSE = 0.00002, 0.002
"""Between two looks at threads that are on their way, if none says that it has come further."""
ON_THE_SPOT = 0.0002
"""The loop itself makes shorter pauses: its timers are not that exact."""


class LoopThreads:
    """The threads that wait for their turn, or are waited for.

    Args:
        loop: executes the workflow.
        turns: the threads of its run.
        poke: has the loop look again.
        runs: the thread that runs the loop; None for the one that executes the workflow.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turns: ThreadTurns,
        poke: Callable[[], None],
        runs: ThreadTask | None = None,
    ) -> None:
        self._loop = loop
        self._turns = turns
        self._poke = poke
        self._runs = runs
        self._replayed: set[float] = set()  # places of the replay where threads wait
        self._seen: Seen = {}
        self._pause = SHORTEST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._rested = False

    def first(self) -> float | None:
        """The first place where a thread waits for its turn."""
        return self._turns.first()

    def give(self, place: float) -> bool:
        """It is the turn of the thread that waits there; False if none does."""
        return self._turns.give(place)

    def give_before(self, place: float) -> bool:
        """It is the turn of the first thread that waits, if it waits there or before; False if none does."""
        first = self._turns.first()
        return first is not None and first <= place and self._turns.give(first)

    def take_part(self, replay: DeliveryOrder) -> None:
        """What threads wait for is seen again in its turn, like what tasks do."""
        places = set(self._turns.places())
        for place in self._replayed - places:
            replay.leave(place)
        for place in places - self._replayed:
            replay.wait(place)
        self._replayed = places

    def stir(self) -> None:
        """The loop has had something to run since the threads were seen to rest."""
        self._rested = False

    def rest(self, place: float | None, is_empty: Callable[[], bool]) -> bool | None:
        """Have all threads come to rest, and has the loop run what they handed to it?

        Args:
            place: whose turn may come; a thread that saves what comes after it is not waited for.
            is_empty: has the loop nothing to run at this moment, as far as it shows?

        Returns:
            True if it is so. Else: None if the loop is to look again in its next turn, False if it will be made to.
        """
        turns = self._turns
        while turns.moving(math.inf if place is None else place, self._seen, self._runs):
            self._rested, turns.held_up = False, True
            if self._pause > ON_THE_SPOT:
                self._look_later(min(self._pause, LONGEST_PAUSE))
                self._pause *= 2
                return False
            time.sleep(self._pause)  # threads run in real time, whatever the clock of the runs is
            self._pause *= 2
        turns.held_up = False
        if not self._rested and not is_empty():
            self._rested = True
            return None
        self._seen, self._pause, self._rested = {}, SHORTEST_PAUSE, False
        return True

    def _look_later(self, pause: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(pause, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        self._poke()
