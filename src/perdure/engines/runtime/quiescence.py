"""When a replay of several branches has come to rest, so that what is still unclaimed has no branch that claims it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.core.execution.branch import busy
from perdure.core.execution.spec import Call
from perdure.engines.runtime.base_scope import BaseScope

QUIET_TURNS = 20
BUSY_SECONDS = 30.0
"""The replay has come to rest when every branch asks for something new, and none has claimed anything for so many turns
of the loop. A branch may also be awaiting something of its own, a request say, before its next call: that is waited
for, but not for ever, since what it awaits may be the branch that asks."""


async def settle(
    scope: BaseScope,
    call: Call,
    clock: Callable[[], float],
    look: Callable[[float, float], float],
    turns_again: int,
) -> tuple[Call, ...]:
    """Let the other branches claim what is theirs, until none has for a while or nothing is left to claim.

    Args:
        scope: the run.
        call: what the current branch asks for.
        clock: seconds that only ever grow.
        look: how many seconds to sleep until the next look, given how long there has been no claim, and after how long
            that is rest.
        turns_again: how many turns without a claim are asked for after each such sleep.

    Returns:
        The calls of all branches that have come to rest.

    Raises:
        StopRun: another branch came to rest first, and has stopped the run.
    """
    entry = (call, scope.branch())
    scope.settling.append(entry)
    try:
        await _rest(scope, call.spec.name, clock, look, turns_again)
        scope.check()
        return tuple(call for call, _ in scope.settling)
    finally:
        scope.settling.remove(entry)


async def _rest(
    scope: BaseScope,
    name: str,
    clock: Callable[[], float],
    look: Callable[[float, float], float],
    turns_again: int,
) -> None:
    history = scope.history
    seen, turns, since = history.claims, QUIET_TURNS, clock()
    while history.unsettled(name):
        await asyncio.sleep(0)
        if history.claims != seen:
            seen, turns, since = history.claims, QUIET_TURNS, clock()
        turns -= 1
        if turns <= 0:
            waited, patience = clock() - since, _patience(scope)
            if waited >= patience:
                return
            await asyncio.sleep(look(waited, patience))
            turns = turns_again


def _patience(scope: BaseScope) -> float:
    """How many seconds without a claim are rest."""
    if scope.executing:
        return float("inf")  # a step that runs will end, and its branch go on to other calls
    resting = [branch for _, branch in scope.settling if branch is not None]
    return BUSY_SECONDS if scope.main is not None and busy(scope.main.living, resting) else 0.0
