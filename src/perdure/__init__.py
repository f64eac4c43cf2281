"""Makes a plain Python script durable: every step it finishes is saved, and running it again goes on where it stopped."""

from perdure.batch import Batch, DeadLetter
from perdure.context import attempt, idempotency_key, now, progress, random, uuid
from perdure.core.retry import Retry
from perdure.step import step
from perdure.workflow import workflow

__all__ = [
    "Batch",
    "DeadLetter",
    "Retry",
    "attempt",
    "idempotency_key",
    "now",
    "progress",
    "random",
    "step",
    "uuid",
    "workflow",
]
