"""Options of a workflow or a step that a cluster lacks: refused before anything runs, never ignored.

The reasons and the alternatives are in the table of engines/features.py.
"""

from __future__ import annotations

from perdure.core.execution.spec import Spec
from perdure.core.policies.guard import Guard
from perdure.engines.declared_queues import queues
from perdure.engines.features import TEMPORAL, Feature
from perdure.engines.interface import Enqueued
from perdure.errors import PerdureError


def refuse_parking(spec: Spec) -> None:
    """Refuse to count how often a run has failed, in order to set it aside.

    Raises:
        OptionError: it is to be set aside after so many failures.
    """
    if spec.rules.park_after is not None:
        TEMPORAL.require(Feature.PARK_AFTER, owner=spec.owner, park_after=spec.rules.park_after)


def refuse_counting(spec: Spec) -> None:
    """Refuse the options of a workflow that ask what runs have come to.

    Raises:
        OptionError: it is to be done once, or to fail with so many dead letters.
    """
    if spec.rules.once:
        TEMPORAL.require(Feature.ONCE, owner=spec.owner)
    if spec.rules.fail_on_dead is not None:
        TEMPORAL.require(Feature.FAIL_ON_DEAD, owner=spec.owner)


def refuse_queueing(spec: Spec, how: Enqueued) -> None:
    """Refuse what a run that is enqueued asks for, and a cluster lacks.

    Raises:
        OptionError: the workflow has such an option.
        UsageError: the queue has limits.
    """
    refuse_locks(spec)
    refuse_parking(spec)
    refuse_counting(spec)
    queue = queues.get(how.queue)
    if queue is not None and (queue.concurrency, queue.per_key, queue.rate) != (None, None, None):
        TEMPORAL.require(Feature.QUEUE_LIMITS, asked=f"queue {how.queue!r}, which has limits,")


def refuse_locks(spec: Spec) -> None:
    """Refuse the options of a workflow that only a state file can keep.

    Raises:
        OptionError: it has a lock, or says what to do if it is locked.
    """
    rules = spec.rules
    if rules.lock is not None:
        TEMPORAL.require(Feature.RUN_LOCK, owner=spec.owner, lock=rules.lock or spec.name)
    if rules.if_locked != "skip":
        TEMPORAL.require(Feature.IF_LOCKED, owner=spec.owner, if_locked=rules.if_locked)


def refuse_own_loop(loop: object) -> None:
    """Refuse a durable call in a loop of the workflow's own: Temporal does not know what happens there.

    Raises:
        UsageError: there is no loop of the engine's, as in a sync workflow.
    """
    if loop is None:
        TEMPORAL.require(Feature.OWN_LOOPS)


def unguarded(guard: Guard) -> PerdureError:
    """The error of a step that has a breaker or a rate limit."""
    option = f"breaker {guard.service!r}" if guard.breaker is not None else f"the rate limit of {guard.step!r}"
    return TEMPORAL.unsupported(Feature.STEP_GUARDS, option=option)
