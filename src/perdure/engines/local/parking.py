"""The durable waits of running workflows: when a branch is parked, how it is woken, and when a run may be left.

A run is left, and is only rows from then on, when every branch of it and of its child runs is in a durable wait, no
step is in flight, and none of the waits is due soon. A branch that awaits something else, or has a timer of the event
loop, keeps it in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from perdure.core.execution.branch import Branch
from perdure.core.execution.run_refusals import suspended
from perdure.core.execution.waiting import CloseWait, Look, OpenWait, Park, SetAside, Wait
from perdure.core.redaction.printable import one_line
from perdure.core.waits import SLACK, Open, View, verdict
from perdure.engines.local import notices, run_lifecycle
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.engines.runtime.clock import World
from perdure.errors import StopRun
from perdure.store import bell, waits
from perdure.store.group_commit import Operation

LOOKS = 4
"""So many looks in a row have to find the threads of a run at rest, before it is left."""
Performers = dict[type, Callable[[Any, Any], Any]]


class Spot:
    """A branch that is parked."""

    __slots__ = ("branch", "ear", "task", "waiting")

    def __init__(self, waiting: waits.Waiting, branch: Branch | None, ear: bell.Ear, task: Any) -> None:
        self.waiting = waiting
        self.branch = branch
        self.ear = ear
        self.task = task


class Family:
    """The waits of a run and its child runs."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.spots: list[Spot] = []
        self.moves = 0  # how often a branch has come to a wait or gone on from one
        self.looks = 0  # in a row that found all threads at rest
        self.seen: object = None


def family_of(scope: LocalScope) -> Family:
    """The waits of the run that the scope belongs to."""
    root: Any = scope.family
    if root.waits is None:
        root.waits = Family()
    found: Family = root.waits
    return found


class Parking:
    """Performs the effects of waits.

    Args:
        resources: the state file and what goes with it.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def performers(self) -> Performers:
        """What performs the effects on a thread."""
        return {
            Look: self._look,
            OpenWait: lambda effect, scope: self._write(effect.rows, self._operation(effect, scope)),
            SetAside: self._set_aside,
            CloseWait: lambda effect, scope: self._write(effect.rows, self._operation(effect, scope), scope),
            Park: self._park,
        }

    # -- what is read and written -------------------------------------------------------------------------------------

    def _waiting(self, effect: Any, scope: LocalScope) -> waits.Waiting:
        root: Any = scope.family
        clock = _clock(self._resources.world, effect.wait)
        return waits.Waiting(scope.run.rid, root.run.rid, effect.call, effect.wait, self._live(scope), clock)

    def _live(self, scope: LocalScope) -> Collection[waits.CallId] | None:
        root: Any = scope.family
        if any(one.history.replaying for one in root.kin):
            return None
        family = family_of(scope)
        with family.lock:
            return {spot.waiting.id for spot in family.spots}

    def _look(self, effect: Look | Park, scope: LocalScope) -> View:
        store = self._resources.store
        view: View = store.journal.read(waits.look(store, self._waiting(effect, scope)))
        return view

    def _operation(self, effect: Any, scope: LocalScope) -> Operation:
        store, waiting = self._resources.store, self._waiting(effect, scope)
        if isinstance(effect, OpenWait):
            return waits.opening(store, waiting, effect)
        if isinstance(effect, SetAside):
            return waits.setting_aside(store, waiting, effect)
        return waits.closing(store, waiting, effect)

    def _write(self, rows: Any, operation: Operation, closed: LocalScope | None = None) -> Any:
        answer = self._resources.store.journal.write(rows, operation)
        if closed is not None:
            self._closed(closed)
        return answer

    def _closed(self, scope: LocalScope) -> None:
        """A wait has ended: others of the run may be next for what it did not take."""
        if len(family_of(scope).spots) > 0:
            self._resources.bell.ring_here()

    def _set_aside(self, effect: SetAside, scope: LocalScope) -> View:
        view: View = self._write((), self._operation(effect, scope))
        self._warn(effect, scope)
        return view

    def _warn(self, effect: SetAside, scope: LocalScope) -> None:
        import logging

        logging.getLogger("perdure").warning(
            "%s",
            one_line(f"run {scope.id}: a signal is set aside, and {effect.call.spec.owner} goes on: {effect.reason}"),
        )

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _park(self, effect: Park, scope: LocalScope) -> View:
        world = self._resources.world
        with self._spot(effect, scope) as spot:
            while True:
                view, until = self._still_open(effect, scope, spot)
                if until is None:
                    break
                self._leave_thread(scope)
                world.rest(spot.ear, until)
        scope.check()  # another thread may have left the run just when this wait was over
        return view

    @contextmanager
    def _spot(self, effect: Park, scope: LocalScope) -> Iterator[Spot]:
        family, branch = family_of(scope), scope.branch()
        with self._resources.bell.listen() as ear:
            task = sys.modules["asyncio"].current_task() if scope.keeps_loop() else None
            spot = Spot(self._waiting(effect, scope), branch, ear, task)
            with family.lock:
                family.spots.append(spot)
                family.moves += 1
                family.looks = 0
            if branch is not None:
                scope.parked.add(branch)
            scope.wake_loop()
            try:
                yield spot
            finally:
                if branch is not None:
                    scope.parked.discard(branch)
                with family.lock:
                    family.spots.remove(spot)
                    family.moves += 1
                    family.looks = 0

    def _still_open(self, effect: Park, scope: LocalScope, spot: Spot) -> tuple[View, float | None]:
        """How the wait stands, and for how many seconds to rest before the next look; None if it may be decided.

        Raises:
            StopRun: the run is left, its time is over, or it is cancelled.
        """
        scope.check()
        scope.look()
        view = self._look(effect, scope)
        end = verdict(effect.wait.wanted, view)
        if not isinstance(end, Open) or not view.open:
            return view, None
        awaited = [one.run for one in effect.wait.wanted if one.run is not None]
        if awaited and view.now - min(view.began) >= notices.LONG:
            notices.waits_for_idle(self._resources, scope.run, awaited, scope.notify_waiting)
        world = self._resources.world
        left = world.slice if end.until is None else min(end.until - view.now, world.slice)
        return view, scope.limits.bound(left)

    # -- leaving ------------------------------------------------------------------------------------------------------

    def _leave_thread(self, scope: LocalScope) -> None:
        """Leave the run if all its threads are parked.

        Raises:
            StopRun: it is left.
        """
        root: Any = scope.family
        if any(one.is_async for one in root.kin):
            return
        moves = family_of(root).moves
        if any(one.shared for one in root.kin) and not self._threads_rest(root):
            return
        self._leave(root, moves)

    def _threads_rest(self, root: Any) -> bool:
        from perdure.engines.runtime.thread_rest import all_rest

        family = family_of(root)
        asleep = []
        for scope in root.kin:
            if scope.deciding is None:
                continue
            inner = {one.ident for one in root.kin if one is not scope}
            found = all_rest(scope, inner)
            if found is None:
                family.looks = 0
                return False
            asleep.append(found)
        seen = (asleep, [one.history.claims for one in root.kin])
        with family.lock:
            family.looks = family.looks + 1 if seen == family.seen else 1
            family.seen = seen
            tasks = sum(spot.task is not None for spot in family.spots)  # of which one looks, for all
            return family.looks >= LOOKS * (len(family.spots) - tasks + min(tasks, 1))

    def _leave(self, root: Any, moves: int) -> None:
        """Leave the run to its waits, unless one of them is decided or due soon.

        No branch goes on from its wait meanwhile: it would execute what another process may begin at once.

        Args:
            root: the scope of the run.
            moves: how often a branch had moved before all were seen to be parked.

        Raises:
            StopRun: it is left.
        """
        resources, family = self._resources, family_of(root)
        store, world = resources.store, resources.world
        if resources.monitor.recorder is not None:
            resources.monitor.recorder.progress()  # a run that waits does not hang
        patience = run_lifecycle.patience(resources, root.run.path)
        if patience == float("inf"):
            return
        ends = [one.limits.deadline for one in root.kin]
        deadlines = [None if end is None else world.now() + end.at - world.clock() for end in ends]
        with family.lock:
            if family.moves != moves:
                return
            spots = list(family.spots)
            parked = [spot.waiting._replace(live={one.waiting.id for one in spots}) for spot in spots]
            notes = [row for one in root.kin for row in one.history.with_notes(())]
            left = store.journal.write(notes, waits.suspending(store, root.run, parked, deadlines, patience))
            if not left:
                return
            for run in left:
                store.let_go(run)
            stop = StopRun(suspended(left[0]))
            for one in root.kin:
                one.stop(stop)
        for spot in spots:
            spot.ear.ring()
        raise stop


def _clock(world: World, wait: Wait) -> Callable[[], float]:
    """The time of day by which a wait is judged: set back, the clock makes no wait longer."""
    if wait.since is None:
        wait.since = (world.now(), world.clock())
    wall, steady = wait.since

    def clock() -> float:
        now = world.now()
        passed = wall + world.clock() - steady
        return passed if passed - now > SLACK else now

    return clock
