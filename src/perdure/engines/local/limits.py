"""What may end a run from outside while its function executes: a deadline that passes, a cancellation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.execution.spec import Spec
from perdure.core.records import RunRecord
from perdure.engines.local.resources import Resources
from perdure.errors import DeadlineExceeded, PerdureError, Released, StepTimeout

if TYPE_CHECKING:
    from perdure.engines.runtime.deadline import Deadline


LOOK = 0.2
"""Seconds between two looks at whether the run is cancelled."""
NEVER = float("inf")


class Limits:
    """The limits of one running workflow.

    Args:
        resources: the state file, and time.
        run: its row.
        spec: the workflow; None while a run that has ended is cleaned up, which nothing bounds.
        parent: the limits of the run that it is a child of.
    """

    __slots__ = ("_nudge", "_resources", "_run", "deadline", "look_at")

    def __init__(self, resources: Resources, run: RunRecord, spec: Spec | None, parent: Limits | None) -> None:
        self._resources = resources
        self._run = run
        self._nudge = resources.store.nudge_at_begin(run.rid)
        self.look_at = NEVER if spec is None else -NEVER
        self.deadline: Deadline | None = parent.deadline if parent is not None else None
        if spec is not None and spec.rules.timeout is not None:
            from perdure.engines.runtime.deadline import Deadline, earlier, time_left

            timeout, world = spec.rules.timeout, resources.world
            at = world.clock() + time_left(run, timeout, world.now())
            own = Deadline(at, timeout, run.id, spec.owner)
            self.deadline = earlier(own, self.deadline)

    def look(self) -> PerdureError | None:
        """The reason to end the run now, if there is one; to be asked when the clock has come to `look_at`."""
        clock = self._resources.world.clock()
        if clock < self.look_at:
            return None
        deadline = self.deadline
        if deadline is not None and clock >= deadline.at:
            return deadline.exceeded()
        store = self._resources.store
        nudge = store.holder.nudges()
        if nudge != self._nudge:
            if store.stopping(self._run.rid):
                from perdure.core.execution.run_refusals import cancelled

                return cancelled(self._run.id)  # with `look_at` as it is: whatever else is about to begin looks too
            self._nudge = nudge
        self.look_at = clock + LOOK if deadline is None else min(clock + LOOK, deadline.at)
        if self._resources.leaving:  # looked at last: who sets it resets `look_at` afterwards
            self.look_at = -NEVER
            return Released(
                f"run {self._run.id} is given back: its worker ends", "do nothing: a worker goes on with it"
            )
        return None

    def bound(self, seconds: float | None) -> float | None:
        """How long an attempt may take that is given `seconds`."""
        if self.deadline is None:
            return seconds
        left = max(self.deadline.at - self._resources.world.clock(), 0.001)
        return left if seconds is None else min(seconds, left)

    def late(self, error: Exception | None) -> DeadlineExceeded | None:
        """The error of the whole run, if an attempt ran out of time because the run did."""
        deadline = self.deadline
        if deadline is None or not isinstance(error, StepTimeout) or self._resources.world.clock() < deadline.at:
            return None
        return deadline.exceeded()
