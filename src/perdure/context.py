"""What code inside a step or a workflow can ask for."""

from __future__ import annotations

import random as _random
import uuid as _uuid
from datetime import UTC, datetime

from perdure.engines.scope import StepContext, here
from perdure.errors import UsageError
from perdure.step import step


def _inside(function: str) -> StepContext:
    context = here.get()
    if not isinstance(context, StepContext):
        raise UsageError(
            f"perdure.{function}() was called outside a step of a running workflow",
            "call it inside a function decorated with @step, which a workflow calls",
        )
    return context


def idempotency_key() -> str:
    """A key for this call of this step: 32 hexadecimal digits, for a header such as Idempotency-Key.

    It is the same for every attempt, in this process and after a crash, and different for every other call; so a
    service that honours it does the work once.

    Raises:
        UsageError: called outside a step of a running workflow.
    """
    return _inside("idempotency_key").idempotency_key()


def attempt() -> int:
    """The number of this attempt, from 1; attempts before a crash are counted.

    Raises:
        UsageError: called outside a step of a running workflow.
    """
    return _inside("attempt").attempt


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Say how far this step has come, for whoever watches; outside a running workflow it does nothing.

    Args:
        done: how much is done, in units of your own.
        total: how much there is, in the same units, if known.
        note: a few words.
    """
    context = here.get()
    if isinstance(context, StepContext) and context.scope is not None:
        context.scope.progress(context.call, done, total, note)


@step(name="perdure.now", retry=None, timeout=None)
def now() -> datetime:
    """The time of day, in UTC; the same again when the run is resumed."""
    return datetime.now(UTC)


@step(name="perdure.uuid", retry=None, timeout=None)
def uuid() -> _uuid.UUID:
    """A new random UUID (version 4); the same again when the run is resumed."""
    return _uuid.uuid4()


@step(name="perdure.random", retry=None, timeout=None)
def random() -> float:
    """A random number in [0, 1); the same again when the run is resumed."""
    return _random.random()
