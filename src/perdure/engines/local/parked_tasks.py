"""The durable waits of async workflows: their branches are tasks. See `parking`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from contextvars import Context
from typing import Any, Protocol

from perdure.core.execution.waiting import CloseWait, Look, OpenWait, Park, SetAside
from perdure.core.records import SEQ
from perdure.core.waits import View
from perdure.engines.local.parking import Family, Parking, Performers, Spot, family_of
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.engines.runtime.thread_rest import LOOK_SECONDS, others
from perdure.engines.runtime.workflow_timers import own_timers
from perdure.errors import StopRun
from perdure.store import waits
from perdure.store.group_commit import Operation

TURNS = 8
"""Turns of an event loop in which tasks that were woken together go back to sleep."""


class Commits(Protocol):
    """Commits for the tasks of the loop that runs here."""

    def write(self, rows: Any, operation: Operation | None = None) -> Awaitable[Any]:
        """Make rows and an operation durable."""

    def write_then(self, rows: Any, then: Any, operation: Operation | None = None) -> None:
        """The same; `then` is called after that, or with the error."""


class TaskParking(Parking):
    """Performs the effects of waits by awaiting.

    Args:
        resources: the state file and what goes with it.
        commits: of the loop that runs the current task.
    """

    def __init__(self, resources: Resources, commits: Callable[[], Commits]) -> None:
        super().__init__(resources)
        self._commits = commits

    def performers(self) -> Performers:
        """What performs them in a task; each returns something to await."""
        return {
            Look: self._alook,
            OpenWait: lambda effect, scope: self._commits().write(effect.rows, self._operation(effect, scope)),
            SetAside: self._aset_aside,
            CloseWait: self._aclose,
            Park: self._apark,
        }

    async def _alook(self, effect: Look, scope: LocalScope) -> View:
        return self._look(effect, scope)

    async def _aset_aside(self, effect: SetAside, scope: LocalScope) -> View:
        view: View = await self._commits().write((), self._operation(effect, scope))
        self._warn(effect, scope)
        return view

    async def _aclose(self, effect: CloseWait, scope: LocalScope) -> View | None:
        operation, commits, order = self._operation(effect, scope), self._commits(), scope.order_here()
        if order is None or order.alone() or scope.branch() is None:
            answer: View | None = await commits.write(effect.rows, operation)
        else:
            answers: list[View | None] = []
            future, on_durable = order.expect(effect.row[SEQ])
            commits.write_then(effect.rows, on_durable, lambda connection: answers.append(operation(connection)))
            await future
            answer = answers[-1]
        self._closed(scope)
        return answer

    async def _apark(self, effect: Park, scope: LocalScope) -> View:
        world, order = self._resources.world, scope.order_here()
        with self._spot(effect, scope) as spot, own_timers(), nullcontext() if order is None else order.parked():
            try:
                while True:
                    view, until = self._still_open(effect, scope, spot)
                    if until is None:
                        return view
                    await self._leave_tasks(scope, spot)
                    await world.arest(spot.ear, until)
            except asyncio.CancelledError:
                if not _ends(scope):
                    waits.give_up(self._resources.store, spot.waiting)
                raise
            except StopRun:
                # In a loop of the workflow's own nobody may await this task, and asyncio would print a traceback.
                if spot.task is not None:
                    spot.task.add_done_callback(_retrieve, context=Context())
                raise

    async def _leave_tasks(self, scope: LocalScope, spot: Spot) -> None:
        """Leave the run if all its tasks are parked: one of them looks, for all.

        Raises:
            StopRun: it is left.
        """
        root: Any = scope.family
        family = family_of(scope)
        if self._beside_threads(root):
            moves = family.moves
            if family.spots[-1] is spot and self._threads_rest(root):
                self._leave(root, moves)
            return
        for _ in range(TURNS):
            if family.spots[-1] is not spot:
                return
            moves = family.moves
            if self._tasks_rest(root, family):
                self._leave(root, moves)
                return
            threads = [one for one in root.kin if one.order is not None and one.deciding is not None]
            # Whether a thread has come to rest shows only after a while.
            await asyncio.sleep(LOOK_SECONDS if any(others(one, one.order) for one in threads) else 0)

    def _beside_threads(self, root: Any) -> bool:
        """Is this a loop that a sync workflow runs itself, beside threads or other loops?"""
        if any(scope.is_async for scope in root.kin):
            return False
        loop = asyncio.get_running_loop()
        orders = [(scope, scope.order_of(loop)) for scope in root.kin]
        return any(order is None or others(scope, order) for scope, order in orders)

    def _tasks_rest(self, root: Any, family: Family) -> bool:
        waiting = {spot.task for spot in family.spots}
        if None in waiting:
            return False  # a thread waits, which a task does not wake
        loop = asyncio.get_running_loop()
        for scope in root.kin:
            order = scope.order_of(loop)
            if order is None:
                return False
            if order is not scope.order and scope.order is not None:
                return False
            carriers = {one.main.task for one in root.kin if one is not scope and one.main is not None}
            if not order.only_waits(waiting, carriers):
                return False
        return True


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _ends(scope: LocalScope) -> bool:
    """Is the run over, or one that it is a child of? What is waited for then is for that end to say."""
    one: LocalScope | None = scope
    while one is not None:
        if one.closed or one.stopped is not None:
            return True
        one = one.parent
    return False
