"""A workflow that a workflow calls under an id, on one machine: executed here, as a run of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.core.execution.named_calls import call_named
from perdure.core.execution.run import Life, UnderWay, live
from perdure.core.execution.run_effects import Apart
from perdure.core.execution.spec import Call
from perdure.engines.local.resources import Resources
from perdure.engines.local.run_lifecycle import start_of
from perdure.errors import StopRun, Suspended

if TYPE_CHECKING:
    from perdure.engines.local.driver_interface import Program

    Performers = dict[type, Callable[[Any, Any], Any]]


def decide(scope: Any, call: Call) -> Program:
    """What the call comes to.

    Args:
        scope: of the caller.
        call: from `functions.named_call`.
    """
    _, asked, id = call.args
    resources: Resources = scope.resources
    (scope.drivers.tasks if asked.spec.is_async else scope.drivers.sync).learn_to_wait()

    def begin() -> Life:
        # Another process may execute it: its end is waited for then. One that calls this one would wait for itself.
        waits = asked.spec.rules.if_locked != "fail" and id not in callers(scope)
        return live(asked, start_of(resources, asked, scope.run.path, id, attach=waits, apart=waits))

    return call_named(
        call, scope.history, begin, partial(scope.end_of, asked.spec), scope.left_child, resources.world.now()
    )


def callers(scope: Any) -> set[str]:
    """The ids of the run, of those that it is a part of, and of those that have called it."""
    found: set[str] = set()
    while scope is not None:
        found.add(scope.id)
        scope = scope.caller
    return found


def performers(drive: Callable[[Life, None], Any], resources: Resources) -> Performers:
    """What performs the effects on a thread."""
    return {Apart: lambda effect, _: _carry(drive, resources, effect)}


def in_tasks(drive: Callable[[Life, None], Awaitable[Any]], resources: Resources) -> Performers:
    """What performs them in a task; each returns something to await."""
    return {Apart: lambda effect, _: _carry_in_task(drive, resources, effect)}


def _carry(drive: Callable[[Life, None], Any], resources: Resources, effect: Apart) -> Any:
    resources.monitor.ready(effect.call.spec)
    try:
        return drive(effect.life, None)
    except BaseException as error:
        if not _is_left_to_others(effect, error):
            raise
        return None


async def _carry_in_task(drive: Callable[[Life, None], Awaitable[Any]], resources: Resources, effect: Apart) -> Any:
    resources.monitor.ready(effect.call.spec)
    try:
        return await drive(effect.life, None)
    except BaseException as error:
        if not _is_left_to_others(effect, error):
            raise
        return None


def _is_left_to_others(effect: Apart, error: BaseException) -> bool:
    """Does the caller wait for the end of the run, since that is suspended or executed elsewhere?"""
    if isinstance(error, StopRun):
        return isinstance(error.error, Suspended) and error.error.run == effect.id
    return isinstance(error, UnderWay) and error.id == effect.id
