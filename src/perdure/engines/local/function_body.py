"""What happens around a workflow's function, whichever driver calls it."""

from __future__ import annotations

from contextlib import suppress
from sys import exception
from typing import TYPE_CHECKING, cast

from perdure.config.os_errors import is_used_up, named
from perdure.core.exceptions.exits import is_exit
from perdure.core.execution.effects import Outcome
from perdure.core.execution.run_effects import Body
from perdure.engines.interface import here, under_way
from perdure.engines.local import dead_letters, notices
from perdure.engines.local.broken_off import broken_off, cause_of_exit
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.engines.runtime.thread_branches import ThreadTask, install, install_for_loops

if TYPE_CHECKING:
    from perdure.engines.local.driver_interface import Drivers


class FunctionBody:
    """A workflow's function that is executing, and its `scope`.

    Args:
        resources: the state file and what goes with it.
        drivers: carry the decisions of the run.
        effect: the function and the run.
        parent: the run that it is a child of.
    """

    __slots__ = ("_at", "_most_dead", "_now", "_resources", "_run", "_started", "_token", "scope")

    def __init__(
        self, resources: Resources, drivers: Drivers[LocalScope], effect: Body, parent: LocalScope | None
    ) -> None:
        spec = effect.call.spec
        self._resources = resources
        self._run = effect.run
        self._most_dead = spec.rules.fail_on_dead
        self.scope = LocalScope(resources, drivers, effect.run, effect.history, spec, parent)
        self.scope.is_async = spec.is_async
        caller = here.get()
        if isinstance(caller, LocalScope):
            self.scope.caller = caller
        if effect.history.resumed or self.scope.tree is not None:
            from perdure.engines.local import run_trees

            run_trees.enter(resources, self.scope, spec)
        (install_for_loops if spec.is_async else install)()
        notices.resumes(resources, effect)
        self._now = resources.world.now
        self._started, self._at = self._now(), resources.world.clock()
        self._token = here.set(self.scope)
        under_way[id(self.scope)] = self.scope

    def close(self) -> None:
        """The function is over: what its threads are in the middle of comes to its end, and nothing more begins.

        Nothing may write to the run after it has ended, since another process may go on with it then.
        """
        scope = self.scope
        self._over()
        if scope.forked or scope.abandoned:
            return  # the threads are the parent's; or a second Ctrl-C is not to wait for them
        try:
            scope.holds.wait()
        except BaseException:
            scope.abandoned = True
            raise

    async def close_in_loop(self) -> None:
        """The same without blocking the loop."""
        import asyncio

        from perdure.engines.runtime.loop_futures import settle_future

        scope = self.scope
        self._over()
        if scope.forked or scope.abandoned or not scope.holds.held:
            return
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(settle_future, over)

        scope.holds.then(wake)
        try:
            await over
        except BaseException:
            scope.abandoned = True
            raise

    def _over(self) -> None:
        scope = self.scope
        if (error := exception()) is not None and error is not scope.around:
            scope.left_by = type(error)
        scope.closed = scope.shared = True
        self.scope.history.whose = None
        if self.scope.orders and not self.scope.forked:
            from perdure.engines.runtime.branches import let_go_of_loops

            let_go_of_loops(self.scope)

    def returned(self, value: object) -> Outcome:
        """The function has returned.

        Raises:
            StopRun: the run was stopped before, which the function has swallowed.
            HasDeadLetters: it has more of them than the workflow puts up with.
        """
        self.scope.refuse_if_forked()
        self.scope.check()
        dead_letters.refuse(self._resources.store, self._run, self._most_dead)
        return self._outcome(value, None)

    def left_by(self, error: BaseException, *, cancelled: bool = False) -> Outcome | None:
        """The function was left by an exception; None if that only breaks the run off, and is to be raised again.

        Args:
            error: what it raised.
            cancelled: the task that executes it is to end, whatever becomes of the run.

        Raises:
            StopRun: what stopped the run, if something else came out (a task group wraps it into a group of its own).
        """
        scope = self.scope
        if scope.forked:
            return None  # nothing of the run is this process's
        self._resources.spare.make_room()
        if is_used_up(error) and not scope.history.has_failed_by(error):  # what a step failed with is its own
            from perdure.engines.runtime.tracebacks import is_of_perdure

            if is_of_perdure(error):
                scope.stop_for(named(cast("OSError", error), self._resources.store.path))
        scope.history.branched = scope.deciding is not None or (scope.main is not None and scope.main.children > 0)
        if isinstance(error, Exception):
            from perdure.engines.runtime.error_bodies import keep_bodies
            from perdure.engines.runtime.tracebacks import from_user_code

            keep_bodies(error)
            return self._outcome(None, scope.ending or scope.limits.late(error) or from_user_code(error))
        if scope.ending is not None and not cancelled:
            return self._outcome(None, scope.ending)
        if scope.stopped is None and is_exit(type(error)) and cause_of_exit(scope, error).replayed:
            # The process died between the exit and the end of the function: the step gets its chance in this life.
            return self._outcome(None, cast("Exception", error))
        broken_off(self._resources, scope, error)
        scope.check()
        return None

    def leave(self) -> None:
        """What is called from here on is not called by the workflow."""
        if self.scope.left_by is not None and self.scope.main is not None and not self.scope.forked:
            tasks = [one.task for one in self.scope.main.living if isinstance(one.task, ThreadTask) and not one.done()]
            if tasks:
                from perdure.engines.runtime.left_threads import left_behind

                left_behind(self.scope, tasks)
        if self.scope.tree is not None:
            self.scope.tree.leave(self._run.rid)
        if self.scope in self.scope.kin:
            self.scope.kin.remove(self.scope)
        under_way.pop(id(self.scope), None)  # first: in a task that the collector closes, the next line raises
        here.reset(self._token)

    def _outcome(self, value: object, error: Exception | None) -> Outcome:
        return Outcome(value, error, self._started, self._resources.world.clock() - self._at)
