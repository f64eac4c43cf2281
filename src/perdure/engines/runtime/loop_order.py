"""The order in which an event loop that a workflow runs itself sees what happens; see `event_order`.

Such a loop shares the history of its run with the code around it, with threads and with other loops. A record does not
say whose it is, so what the loop has not asked for may be of another. It waits for that only as long as a task of its
own may still ask for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from typing import Any

from perdure.core.execution.branch import Branch, Living
from perdure.core.execution.delivery_order import BLOCKED, OVER, DeliveryOrder, Next
from perdure.engines.interface import here
from perdure.engines.runtime.awaiting import rests
from perdure.engines.runtime.event_order import EventOrder
from perdure.engines.runtime.loop_futures import settle_future
from perdure.engines.runtime.workflow_timers import Timer


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

    def replays(self) -> bool:
        """Does the loop run, and has it not seen yet all that it saw in an earlier life?"""
        return super().replays() and (self.entered > 0 or self.loop.is_running())

    def is_quiet(self) -> bool:
        """Is there nothing that the loop is about to let come, as far as another thread can see?"""
        if not self.loop.is_running():
            return True  # its thread says what it is at
        under_way = self._queue or self._waiting or (self._replay is not None and not self._settled)
        return not under_way and not self._has_ready()

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
        return OVER if following == BLOCKED and not replay.has_timers() and self._has_threads() else following

    def _threads(self) -> None:
        """Threads are not ordered as long as such a loop runs."""

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
        return all(rests(task, self._known, tasks) for task in tasks)
