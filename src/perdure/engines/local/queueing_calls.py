"""The calls by which a workflow puts runs into queues, on one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import exception
from typing import TYPE_CHECKING, Any

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.queueing import QueuedRun, enqueue
from perdure.core.execution.spec import Call, Spec
from perdure.engines import functions
from perdure.engines.interface import Enqueued
from perdure.engines.local.queues import declare_queues
from perdure.engines.local.run_lifecycle import queued_runs

if TYPE_CHECKING:
    from perdure.engines.local.driver_interface import Program


def queueing(scope: Any, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> Call:
    """The call that stands for it in the records: its inputs are those of the workflow."""
    scope.check()
    due_to_exit = scope.handles(exception())
    declare_queues(scope.resources.store, scope.world.now())
    call = functions.queueing_call(spec, args, kwargs, how.id)
    scope.admit(call.spec)
    call.due_to_exit = due_to_exit
    branch = scope.branch()
    return functions.known_by_id(call if branch is None else branch.place(call), how.id)


def decide(scope: Any, call: Call, how: Enqueued) -> Program:
    """What one call comes to."""
    (end,) = yield from decide_all(scope, [call], how)
    return end


def decide_all(scope: Any, calls: Sequence[Call], how: Enqueued) -> Program:
    """What several calls come to, in one transaction."""
    queued = _queued(scope, how)
    return enqueue(calls, scope.history, queued, scope.world.now(), left=scope.left_child, named=how.id)


def _queued(scope: Any, how: Enqueued) -> Callable[[list[Call]], list[QueuedRun]]:
    """Makes the runs of calls that enqueue them."""

    def runs(calls: list[Call]) -> list[QueuedRun]:
        asked = [call.args[0] for call in calls]
        ids = None
        if how.id is None:
            ids = [child_id(scope.id, each.args[0].spec.name, each.key, each.n) for each in calls]
        return queued_runs(scope.resources, asked, how, ids)

    return runs
