"""A workflow that a workflow calls under an id, on one machine: executed here, as a run of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.execution.named_calls import call_named
from perdure.core.execution.run import Life, UnderWay, live
from perdure.core.execution.run_effects import Apart
from perdure.core.execution.spec import Call
from perdure.engines.local.resources import Resources
from perdure.engines.local.run_lifecycle import start_of
from perdure.errors import StopRun, Suspended

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.engines.local.driver_interface import Program


def decide(scope: Any, call: Call, end_of: Callable[[str], Program]) -> Program:
    """What the call comes to.

    Args:
        scope: of the caller.
        call: from `functions.named_call`.
        end_of: the wait of the caller for the end of a run of that id.
    """
    _, asked, id = call.args
    resources: Resources = scope.resources

    def begin() -> Life:
        # Another process may execute it: its end is waited for then. One that calls this one would wait for itself.
        waits = asked.spec.rules.if_locked != "fail" and id not in callers(scope)
        return live(asked, start_of(resources, asked, scope.run.path, id, attach=waits, apart=waits))

    return call_named(call, scope.history, begin, end_of, scope.left_child, resources.world.now())


def callers(scope: Any) -> set[str]:
    """The ids of the run, of those that it is a part of, and of those that have called it."""
    found: set[str] = set()
    while scope is not None:
        found.add(scope.id)
        scope = scope.caller
    return found


def ready(resources: Resources, effect: Apart) -> Life:
    """The life of a run that is carried beside its caller's."""
    resources.monitor.ready(effect.call.spec)
    life: Life = effect.life
    return life


def is_left_to_others(effect: Apart, error: BaseException) -> bool:
    """Does the caller wait for the end of the run, since that is suspended or executed elsewhere?"""
    if isinstance(error, StopRun):
        return isinstance(error.error, Suspended) and error.error.run == effect.id
    return isinstance(error, UnderWay) and error.id == effect.id
