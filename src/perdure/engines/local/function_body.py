"""What happens around a workflow's function, whichever driver calls it."""

from __future__ import annotations

from perdure.core.execution.effects import Outcome
from perdure.core.execution.run import Body
from perdure.engines.interface import here
from perdure.engines.local import run_lifecycle
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import Drivers, LocalScope
from perdure.engines.runtime.tracebacks import from_user_code


class FunctionBody:
    """A workflow's function that is executing, and its `scope`.

    Args:
        resources: the state file and what goes with it.
        drivers: carry the decisions of the run.
        effect: the function and the run.
        parent: the run that it is a child of.
    """

    __slots__ = ("_now", "_resources", "_run", "_started", "_token", "scope")

    def __init__(self, resources: Resources, drivers: Drivers, effect: Body, parent: LocalScope | None) -> None:
        spec = effect.call.spec
        self._resources = resources
        self._run = effect.run
        self.scope = LocalScope(resources, drivers, effect.run, effect.history, spec, parent)
        self.scope.is_async = spec.is_async
        resources.monitor.began(effect.run, spec)
        self._now = resources.world.now
        self._token = here.set(self.scope)
        self._started = self._now()

    def returned(self, value: object) -> Outcome:
        """The function has returned.

        Raises:
            StopRun: the run was stopped before, which the function has swallowed.
        """
        self.scope.check()
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
        if isinstance(error, Exception):
            return self._outcome(None, scope.ending or scope.limits.late(error) or from_user_code(error))
        if scope.ending is not None and not cancelled:
            return self._outcome(None, scope.ending)
        run_lifecycle.stopped(self._resources, self._run, scope.stopped or error)
        if not scope.abandoned:
            # It was stopped, not ended: it can be resumed.
            self._resources.store.release(self._run, self._now(), run_lifecycle.stop_fault(scope.stopped or error))
        scope.check()
        return None

    def leave(self) -> None:
        """What is called from here on is not called by the workflow."""
        here.reset(self._token)

    def _outcome(self, value: object, error: Exception | None) -> Outcome:
        return Outcome(value, error, self._started, self._now() - self._started)
