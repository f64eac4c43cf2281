"""Makes a plain Python script durable: each step it finishes is saved; run again, it goes on where it stopped."""

from perdure.batch import Batch, DeadLetter
from perdure.context import attempt, defer, idempotency_key, now, progress, random, uuid
from perdure.core.retry import Retry
from perdure.ids import deterministic_id
from perdure.logs import LogContext
from perdure.retrying import retry
from perdure.secrets import Secret
from perdure.step import step
from perdure.workflow import workflow

__all__ = [
    "Batch",
    "DeadLetter",
    "LogContext",
    "Retry",
    "Secret",
    "attempt",
    "defer",
    "deterministic_id",
    "idempotency_key",
    "now",
    "progress",
    "random",
    "retry",
    "step",
    "uuid",
    "workflow",
]
