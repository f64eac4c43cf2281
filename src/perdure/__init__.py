"""Makes a plain Python script durable: each step it finishes is saved; run again, it goes on where it stopped."""

from perdure.alerting import alert
from perdure.batch import Batch, DeadLetter
from perdure.breaker import Breaker
from perdure.context import attempt, defer, idempotency_key, now, progress, random, uuid
from perdure.core.retry import Retry
from perdure.ids import deterministic_id
from perdure.locking import lock
from perdure.logs import LogContext
from perdure.rate import Rate
from perdure.retrying import retry
from perdure.secrets import Secret
from perdure.step import step
from perdure.workflow import workflow

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
