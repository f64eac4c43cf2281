"""Calls that wait are seen from outside: they stand in the flight recorder while they do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from perdure.core.execution.effects import Wait
from perdure.engines.local.resources import Resources


def shown_waiting(resources: Resources, run_id: str, effect: Wait) -> Callable[[], None]:
    """Have a call that waits seen from outside; what is returned is to be called when it does not wait any more."""
    recorder = resources.monitor.recorder
    if recorder is None:
        return _nothing
    call, now = effect.call, resources.world.now()
    label = "" if call.extras is None else call.extras.label or ""
    number = effect.attempt + (effect.error is not None)
    slot = recorder.wait(
        run_id, call.spec.name, call.key, call.n, number, now, now + effect.seconds, effect.reason, label
    )
    return partial(recorder.waited, slot)


def _nothing() -> None:
    pass
