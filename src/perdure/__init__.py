"""Makes a plain Python script durable: each step it finishes is saved; run again, it goes on where it stopped.

`docs/reference.md` explains every name here. `Step`, `BoundStep`, `Workflow`, `Handle` and `HeldLock` are what the
decorators and calls return; they are exported for annotations.
"""

TYPE_CHECKING = False  # typing itself is loaded by what needs it

if TYPE_CHECKING:
    from typing import Any

    from perdure import aio, errors
    from perdure.api.alert import alert
    from perdure.api.approvals import Decision, approval
    from perdure.api.artifact import Artifact, artifact
    from perdure.api.batch import Batch, DeadLetter
    from perdure.api.breaker import Breaker
    from perdure.api.budget import budget, spend
    from perdure.api.codecs import register_codec
    from perdure.api.context import attempt, now, progress, random, uuid
    from perdure.api.defer import defer, defer_every_end
    from perdure.api.handle import Handle
    from perdure.api.idempotency_key import idempotency_key
    from perdure.api.ids import deterministic_id
    from perdure.api.lock import HeldLock, lock
    from perdure.api.published import publish, set_progress
    from perdure.api.queue import Queue
    from perdure.api.rate import Rate
    from perdure.api.retry import retry
    from perdure.api.runs import RunInfo, run, runs
    from perdure.api.schedule import Tick, schedule, tick
    from perdure.api.sh import sh
    from perdure.api.signal_url import signal_url
    from perdure.api.signals import signal
    from perdure.api.sleep import sleep, sleep_until
    from perdure.api.step import step
    from perdure.api.step_call import BoundStep, Step
    from perdure.api.wait_any import Won, event, timer, wait_any
    from perdure.api.wait_for import wait_for
    from perdure.api.workflow import Workflow, workflow
    from perdure.config.secrets import Secret
    from perdure.core.policies.retry import Retry
    from perdure.engines.observers.json_logs import LogContext
    from perdure.engines.runtime.command import CommandFailed

__all__ = [
    "Artifact",
    "Batch",
    "BoundStep",
    "Breaker",
    "CommandFailed",
    "DeadLetter",
    "Decision",
    "Handle",
    "HeldLock",
    "LogContext",
    "Queue",
    "Rate",
    "Retry",
    "RunInfo",
    "Secret",
    "Step",
    "Tick",
    "Won",
    "Workflow",
    "aio",
    "alert",
    "approval",
    "artifact",
    "attempt",
    "budget",
    "defer",
    "defer_every_end",
    "deterministic_id",
    "errors",
    "event",
    "idempotency_key",
    "lock",
    "now",
    "progress",
    "publish",
    "random",
    "register_codec",
    "retry",
    "run",
    "runs",
    "schedule",
    "set_progress",
    "sh",
    "signal",
    "signal_url",
    "sleep",
    "sleep_until",
    "spend",
    "step",
    "tick",
    "timer",
    "uuid",
    "wait_any",
    "wait_for",
    "workflow",
]


_MODULES = {
    "Artifact": "perdure.api.artifact",
    "Batch": "perdure.api.batch",
    "BoundStep": "perdure.api.step_call",
    "Breaker": "perdure.api.breaker",
    "CommandFailed": "perdure.engines.runtime.command",
    "DeadLetter": "perdure.api.batch",
    "Decision": "perdure.api.approvals",
    "Handle": "perdure.api.handle",
    "HeldLock": "perdure.api.lock",
    "LogContext": "perdure.engines.observers.json_logs",
    "Queue": "perdure.api.queue",
    "Rate": "perdure.api.rate",
    "Retry": "perdure.core.policies.retry",
    "RunInfo": "perdure.api.runs",
    "Secret": "perdure.config.secrets",
    "Step": "perdure.api.step_call",
    "Tick": "perdure.api.schedule",
    "Won": "perdure.api.wait_any",
    "Workflow": "perdure.api.workflow",
    "alert": "perdure.api.alert",
    "approval": "perdure.api.approvals",
    "artifact": "perdure.api.artifact",
    "attempt": "perdure.api.context",
    "budget": "perdure.api.budget",
    "defer": "perdure.api.defer",
    "defer_every_end": "perdure.api.defer",
    "deterministic_id": "perdure.api.ids",
    "event": "perdure.api.wait_any",
    "idempotency_key": "perdure.api.idempotency_key",
    "lock": "perdure.api.lock",
    "now": "perdure.api.context",
    "progress": "perdure.api.context",
    "publish": "perdure.api.published",
    "random": "perdure.api.context",
    "register_codec": "perdure.api.codecs",
    "retry": "perdure.api.retry",
    "run": "perdure.api.runs",
    "runs": "perdure.api.runs",
    "schedule": "perdure.api.schedule",
    "set_progress": "perdure.api.published",
    "sh": "perdure.api.sh",
    "signal": "perdure.api.signals",
    "signal_url": "perdure.api.signal_url",
    "sleep": "perdure.api.sleep",
    "sleep_until": "perdure.api.sleep",
    "spend": "perdure.api.budget",
    "step": "perdure.api.step",
    "tick": "perdure.api.schedule",
    "timer": "perdure.api.wait_any",
    "uuid": "perdure.api.context",
    "wait_any": "perdure.api.wait_any",
    "wait_for": "perdure.api.wait_for",
    "workflow": "perdure.api.workflow",
}
"""The names and their modules, each loaded when a name of it is asked for: a script uses few of them."""


def __getattr__(name: str) -> "Any":
    import threading
    from importlib import import_module

    from perdure.core.loading import Loading, load_msgspec

    itself = name in ("aio", "errors")
    if not itself and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"perdure.{name}" if itself else _MODULES[name]
    with Loading(module):
        if name != "errors" and threading.active_count() == 1:
            load_msgspec()
        loaded = import_module(module)
    if itself:
        return loaded
    found = globals()[name] = getattr(loaded, name)
    return found


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
