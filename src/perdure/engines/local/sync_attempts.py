"""Attempts of steps on threads, each under its timeout: on the main thread by a signal, on a pool's by giving it up.

The clean-up of an async step is carried in a loop of its own, and cancelled there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.execution.effects import Execute, Outcome
from perdure.core.execution.spec import Call
from perdure.engines.local.attempt import Attempt, given_up, leave
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.engines.runtime.own_loop import OwnLoop
from perdure.engines.runtime.threads import in_pool
from perdure.engines.runtime.timeouts import Abandoned, Ticket, bounded, interrupted_after, on_main_thread, timed_out
from perdure.errors import StopRun
from perdure.store.flight_recorder import Slot

if TYPE_CHECKING:
    from perdure.engines.local.handoff import Handoff


class SyncAttempts:
    """Makes attempts by calling the step's function on the thread that asks.

    Args:
        resources: the state file and what goes with it.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.loop = OwnLoop()

    def execute(self, effect: Execute, scope: LocalScope, *, in_turn: bool = False) -> Outcome:
        """One attempt; `in_turn` if it has the turn of suspects."""
        if effect.alone and not in_turn:
            scope.suspects.take(effect)
            try:
                return self.execute(effect, scope, in_turn=True)
            finally:
                scope.suspects.leave(effect)
        try:
            attempt = Attempt(self._resources, effect, scope)
            try:
                value = self._call_function(effect, scope, attempt)
            except Exception as raised:  # noqa: BLE001  the step's own error, for the core to judge
                # No variable of this frame keeps it: its traceback leads here, and what it holds would outlive it.
                return attempt.end(None, raised)
            except BaseException as stop:
                attempt.break_off(stop, recorded=isinstance(stop, Abandoned))
                raise
            return attempt.end(value, None)
        except BaseException:
            leave(effect, scope)
            raise

    def _call_function(self, effect: Execute, scope: LocalScope, attempt: Attempt) -> Any:
        call, seconds = effect.call, attempt.seconds
        spec = call.spec
        if spec.isolate:
            from perdure.engines.processes.isolated_step import run_isolated

            return run_isolated(call, scope.id, effect.attempt, scope.limits.bound(None))
        if spec.is_async:  # a clean-up: sync code calls no async step otherwise
            from perdure.engines.runtime.error_bodies import with_bodies_kept

            return self.loop.run(lambda: with_bodies_kept(_in_time(call, seconds)))
        if seconds is None:
            return spec.fn(*call.args, **call.kwargs)
        if on_main_thread():
            sure = spec.explicit or seconds != spec.timeout
            return interrupted_after(seconds, spec.owner, spec.fn, call.args, call.kwargs, sure=sure)
        handoff: Handoff[LocalScope] | None = in_pool.handoff
        if handoff is None:
            return spec.fn(*call.args, **call.kwargs)  # the default net cannot be held under a thread of the user's own
        return self._watched(effect, handoff, seconds, attempt.slot)

    def _watched(self, effect: Execute, handoff: Handoff[LocalScope], seconds: float, slot: Slot) -> Any:
        call, scope = effect.call, handoff.scope
        spec = call.spec
        world = self._resources.world
        started, at = world.now(), world.clock()

        def on_expiry() -> None:
            context = handoff.context.copy()
            late = timed_out(spec.owner, seconds)
            outcome = Outcome(None, late, started, seconds, at=at)
            given_up(self._resources, effect, scope, slot, outcome)
            if (over := scope.limits.late(late)) is not None:
                stop = scope.stop(StopRun(over))
                self._resources.pool.spawn(lambda: context.run(handoff.give_up, stop))
            else:
                self._resources.pool.spawn(lambda: context.run(handoff.go_on, outcome))

        ticket = Ticket(seconds, on_expiry)
        self._resources.pool.monitor.add(ticket)
        try:
            value = spec.fn(*call.args, **call.kwargs)
        except BaseException:
            self._settle_ticket(ticket)
            raise
        self._settle_ticket(ticket)
        return value

    def _settle_ticket(self, ticket: Ticket) -> None:
        self._resources.pool.monitor.remove(ticket)
        if not ticket.claim():
            raise Abandoned


async def _in_time(call: Call, seconds: float | None) -> Any:
    return await bounded(_made(call), seconds, call.spec.owner)


async def _made(call: Call) -> Any:
    return await call.spec.fn(*call.args, **call.kwargs)
