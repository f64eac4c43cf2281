"""What is written in one transaction for the effects that only write."""

from __future__ import annotations

from perdure.core.execution.effects import ClearCrashes, Resolve, SaveAttempt
from perdure.core.execution.run_effects import Begin, Forget, Reopen
from perdure.engines.local.resources import Resources
from perdure.store import crashes
from perdure.store.group_commit import Operation

Write = ClearCrashes | Begin | Forget | Reopen | Resolve | SaveAttempt


def operation_of(resources: Resources, effect: Write) -> Operation:
    """The operation whose result answers the effect."""
    store = resources.store
    match effect:
        case SaveAttempt():
            return store.attempt(effect.rid, effect.record)
        case Begin():
            return store.begin(effect.start, resources.world.now())
        case ClearCrashes():
            return crashes.forget(effect.rid, effect.call)
        case Forget():
            return store.forget(effect)
        case Reopen():
            return store.reopen(effect, resources.world.now())
        case Resolve():
            from perdure.store import dead_letters

            return dead_letters.resolve(store, effect, resources.world.now())
