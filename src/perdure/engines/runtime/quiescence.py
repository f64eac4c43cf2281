"""A call that has no record waits until the replay is at rest: what is unclaimed then has no branch that claims it."""

from __future__ import annotations

from perdure.core.execution.spec import Call
from perdure.engines.runtime.base_scope import BaseScope


async def settle(scope: BaseScope, call: Call) -> tuple[Call, ...]:
    """Let the other branches claim what is theirs, until none can any more or nothing is left to claim.

    Returns:
        The calls of all branches that have come to rest.

    Raises:
        StopRun: another branch came to rest first, and has stopped the run.
    """
    entry = (call, scope.branch())
    scope.settling.append(entry)
    try:
        if scope.order is not None:
            await scope.order.rest(call.spec.name)
        scope.check()
        return tuple(call for call, _ in scope.settling)
    finally:
        scope.settling.remove(entry)


async def until_given_up(scope: BaseScope) -> None:
    """Wait until the current call is given up again, as it was in an earlier life; or until nothing else moves.

    Raises:
        StopRun: the run has been stopped.
    """
    order = scope.order_here()
    if order is not None:
        await order.given_up()
    scope.check()
    if order is not scope.order:
        scope.refuse_if_over()
