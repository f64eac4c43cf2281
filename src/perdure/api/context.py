"""What code inside a step or a workflow can ask for."""

from __future__ import annotations

import random as _random
import uuid as _uuid
from datetime import UTC, datetime
from typing import Any, ParamSpec

from perdure.api.step import BoundStep, builtin
from perdure.core.records import DEFER_NOTE
from perdure.engines.interface import StepContext, here
from perdure.errors import OptionError, UsageError

P = ParamSpec("P")


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


@builtin(DEFER_NOTE, kind="defer")
def _note(module: str, name: str, given: bytes) -> None:
    """What is deferred, as a record; see core/unwind.py."""


def defer(step: BoundStep[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a step when the run ends: when it has succeeded, failed, or been cancelled; also after a crash.

    What was deferred last is called first. Each call is retried by the step's own policy, and one that fails for good
    becomes a dead letter; it never hides the error that the run failed with. Since a failed run can be resumed, and
    ends once more then, the step may be called again: let it do no harm twice (delete if it is there).

    Args:
        step: the step; its arguments follow, all of which can be stored.

    Raises:
        UsageError: called outside a workflow, or with an async step in a sync workflow.
        NotStorable: an argument cannot be stored.
    """
    scope = here.get()
    if scope is None or isinstance(scope, StepContext):
        raise UsageError(
            "perdure.defer() was called outside a workflow, which it is to be done at the end of",
            "call it in a function decorated with @workflow, right after the step that makes what is to be put away",
        )
    if not isinstance(step, BoundStep):
        raise OptionError(
            f"perdure.defer() was given {step!r}, which is not a step", "decorate the function with @step"
        )
    scope.defer(step.spec, step.arguments(args), kwargs, _note.spec)


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


@builtin("perdure.now")
def now() -> datetime:
    """The time of day, in UTC; the same again when the run is resumed."""
    return datetime.now(UTC)


@builtin("perdure.uuid")
def uuid() -> _uuid.UUID:
    """A new random UUID (version 4); the same again when the run is resumed."""
    return _uuid.uuid4()


@builtin("perdure.random")
def random() -> float:
    """A random number in [0, 1); the same again when the run is resumed."""
    return _random.random()
