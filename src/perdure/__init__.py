"""Makes a plain Python script durable: each step it finishes is saved; run again, it goes on where it stopped."""

from perdure.batch import Batch, DeadLetter
from perdure.context import attempt, defer, idempotency_key, now, progress, random, uuid
from perdure.core.retry import Retry
from perdure.step import step
from perdure.workflow import workflow

__all__ = [
    "Batch",
    "DeadLetter",
    "Retry",
    "attempt",
    "defer",
    "idempotency_key",
    "now",
    "progress",
    "random",
    "step",
    "uuid",
    "workflow",
]
