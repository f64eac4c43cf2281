"""Functions to call inside a step or a workflow: idempotency_key, attempt, progress; defer, now, uuid, random."""

from __future__ import annotations

import uuid as _uuid
from datetime import UTC, datetime
from typing import Any, ParamSpec

from perdure.api.step import builtin
from perdure.api.step_call import BoundStep
from perdure.core.execution.spec import Spec
from perdure.core.records import DEFER_EVERY_NOTE, DEFER_NOTE
from perdure.engines.interface import StepContext, here
from perdure.errors import OptionError, UsageError

P = ParamSpec("P")


def _inside(function: str) -> StepContext:
    context = here.get()
    if not isinstance(context, StepContext):
        raise UsageError(
            f"perdure.{function}() is called outside a step of a running workflow",
            "call it inside a function decorated with @step, which a workflow calls",
        )
    return context


def idempotency_key() -> str:
    """The idempotency key of this call of this step, for a header such as Idempotency-Key.

    It is the same for every attempt, also after a crash, and another one for every other call. A service that honours
    such keys (IETF draft-ietf-httpapi-idempotency-key-header) does the work once.

    Returns:
        32 hexadecimal digits.

    Raises:
        UsageError: called outside a step of a running workflow.
    """
    return _inside("idempotency_key").idempotency_key()


def attempt() -> int:
    """The number of this attempt of the step, from 1; attempts before a crash count.

    Raises:
        UsageError: called outside a step of a running workflow.
    """
    return _inside("attempt").attempt


@builtin(DEFER_NOTE, kind="defer")
def _note(module: str, name: str, given: bytes) -> None:
    """What is deferred, as a record; see core/execution/cleanup.py."""


@builtin(DEFER_EVERY_NOTE, kind="defer")
def _note_every(module: str, name: str, given: bytes) -> None:
    """The same of what is called at every end."""


def defer(step: BoundStep[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Register a step as clean-up: it is called once, when the run is done or was cancelled.

    A failure is not the end of a run: it is resumed, and stands on what it has made. So the call stays pending then, in
    the state file, as it does in a run that was parked as a whole; `perdure cancel` makes it if the run is not to be
    gone on with. A crash does not lose it either. What was deferred last is called first. Each call is retried by the
    step's own policy; one that fails for good becomes a dead letter.

    Args:
        step: the step to call at the end.
        args: its positional arguments. All arguments are stored.
        kwargs: its keyword arguments.

    Raises:
        UsageError: called outside a workflow, or with an async step in a sync workflow.
        OptionError: `step` is not a step.
        NotStorable: an argument cannot be stored without loss.
    """
    _defer("defer", step, args, kwargs, _note._spec)


def defer_every_end(step: BoundStep[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Register a step as clean-up that is called at every end of the run, also each time that it fails.

    For what has to happen however a run ends, such as letting go of something that it takes again when it is resumed.
    Write a step that may run twice. Everything else is as with `defer`, whose errors it raises.

    Args:
        step: the step to call at each end.
        args: its positional arguments. All arguments are stored.
        kwargs: its keyword arguments.
    """
    _defer("defer_every_end", step, args, kwargs, _note_every._spec)


def _defer(function: str, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any], note: Spec) -> None:
    scope = here.get()
    if scope is None or isinstance(scope, StepContext):
        raise UsageError(
            f"perdure.{function}() is called outside a workflow, so there is no end to defer to",
            "call it in a function decorated with @workflow, right after the step that makes what has to be removed",
        )
    if not isinstance(step, BoundStep):
        raise OptionError(
            f"perdure.{function}() is given {step!r}, which is not a step", "decorate the function with @step"
        )
    scope.defer(step._spec, step._arguments(args), kwargs, note)


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Report how far this step is; `perdure run` and `perdure show` display it. Outside a workflow it does nothing.

    Args:
        done: how much is done, in a unit of your choice.
        total: how much there is in all, in the same unit; None if it is not known.
        note: a few words to display beside it.
    """
    context = here.get()
    if isinstance(context, StepContext):
        if context.scope is not None:
            context.scope.progress(context.call, done, total, note)
        elif context.orderer is not None:  # in a process of its own
            context.orderer.progress(done, total, note)


@builtin("perdure.now")
def now() -> datetime:
    """The current time in UTC, as an aware datetime; on resume the recorded one, so that the workflow decides the same.

    Outside a workflow it is simply the current time.
    """
    return datetime.now(UTC)


@builtin("perdure.uuid")
def uuid() -> _uuid.UUID:
    """A random UUID (version 4; RFC 9562, section 5.4); on resume the recorded one. Outside a workflow, a new one."""
    return _uuid.uuid4()


@builtin("perdure.random")
def random() -> float:
    """A random number from 0 (included) to 1 (excluded); on resume the recorded one. Outside a workflow, a new one."""
    import random  # here, since most scripts do not ask

    return random.random()
