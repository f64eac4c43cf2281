"""Makes a plain Python script durable: each step it finishes is saved; run again, it goes on where it stopped."""

from perdure.api.alert import alert
from perdure.api.batch import Batch, DeadLetter
from perdure.api.breaker import Breaker
from perdure.api.context import attempt, defer, idempotency_key, now, progress, random, uuid
from perdure.api.ids import deterministic_id
from perdure.api.lock import lock
from perdure.api.rate import Rate
from perdure.api.retry import retry
from perdure.api.step import step
from perdure.api.workflow import workflow
from perdure.config.secrets import Secret
from perdure.core.policies.retry import Retry
from perdure.engines.observers.json_logs import LogContext

__all__ = [
    "Batch",
    "Breaker",
    "DeadLetter",
    "LogContext",
    "Rate",
    "Retry",
    "Secret",
    "alert",
    "attempt",
    "defer",
    "deterministic_id",
    "idempotency_key",
    "lock",
    "now",
    "progress",
    "random",
    "retry",
    "step",
    "uuid",
    "workflow",
]
