"""Attempts of steps in the tasks of an event loop, each under its timeout."""

from __future__ import annotations

from collections.abc import Awaitable
from types import CoroutineType
from typing import Any

import msgspec

from perdure.core.execution.effects import Execute, Outcome
from perdure.engines.local.attempt import Attempt, leave
from perdure.engines.local.resources import Resources
from perdure.engines.local.sync_driver import SyncDriver
from perdure.engines.runtime.error_bodies import keep_bodies_in_loop
from perdure.engines.runtime.timeouts import NOT_BEGUN, bounded


class TaskAttempts:
    """Makes attempts in the task that asks.

    Args:
        resources: the state file and what goes with it.
        sync: makes those of steps that are not async.
    """

    def __init__(self, resources: Resources, sync: SyncDriver) -> None:
        self._resources = resources
        self._sync = sync

    def begin(self, effect: Execute, scope: Any) -> Outcome | Awaitable[Outcome]:
        """Begin an attempt in this task: how it went, if it has not waited for anything; else what comes of it.

        Around a step that does not wait, there is no coroutine of ours, and nothing that keeps its time.
        """
        call = effect.call
        spec = call.spec
        if not spec.is_async or spec.isolate or effect.alone:
            return self._execute(effect, scope)
        try:
            attempt = Attempt(self._resources, effect, scope)
            scope.executing += 1
            waited_for, value, over = NOT_BEGUN, None, False
            try:
                coroutine = spec.fn(*call.args, **call.kwargs)
                if type(coroutine) is CoroutineType:
                    try:
                        waited_for = coroutine.send(None)
                    except StopIteration as end:
                        value, over = end.value, True
                else:
                    coroutine = _awaited(coroutine)
            except Exception as raised:  # noqa: BLE001  the step's own error, for the core to judge
                scope.executing -= 1
                return attempt.end(None, raised)  # no variable keeps it, as in the sync driver
            except BaseException as stop:
                scope.executing -= 1
                attempt.break_off(stop, recorded=False)
                raise
            if not over:
                waiting = bounded(coroutine, attempt.seconds, spec.owner, waited_for=waited_for)
                return _rest_of(attempt, waiting, scope)
            scope.executing -= 1
            return attempt.end(value, None)
        except BaseException:
            leave(effect, scope)
            raise

    async def _execute(self, effect: Execute, scope: Any) -> Outcome:
        """One attempt of a step that is not async, runs in a process of its own, or is suspected of crashes."""
        if not effect.call.spec.is_async:
            return self._sync.execute(effect, scope)  # a clean-up, or the undoing of something
        if effect.alone:
            async with scope.suspects.in_loop(effect.alone):
                begun = self.begin(msgspec.structs.replace(effect, alone=0.0), scope)
                return begun if type(begun) is Outcome else await begun  # type: ignore[misc]
        try:
            attempt = Attempt(self._resources, effect, scope)
            scope.executing += 1
            return await _rest_of(attempt, self._isolated(effect, scope), scope)
        except BaseException:
            leave(effect, scope)
            raise

    async def _isolated(self, effect: Execute, scope: Any) -> Any:
        from perdure.engines.processes.isolated_step import run_isolated_in_task

        left = scope.limits.bound(None)
        return await run_isolated_in_task(self._resources.pool.spawn, effect.call, scope.id, effect.attempt, left)


async def _rest_of(attempt: Attempt, working: Awaitable[Any], scope: Any) -> Outcome:
    """The rest of an attempt that has come to wait for something, or that another process makes."""
    try:
        try:
            try:
                value = await working
            except Exception as failed:
                await keep_bodies_in_loop(failed)
                raise
        except Exception as raised:  # noqa: BLE001  the step's own error, for the core to judge
            return attempt.end(None, raised)
        except BaseException as stop:
            attempt.break_off(stop, recorded=False)
            raise
        finally:
            scope.executing -= 1
        return attempt.end(value, None)
    except BaseException:
        leave(attempt.effect, scope)
        raise


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
