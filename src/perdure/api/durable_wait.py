"""How a workflow waits, whatever for: the function that was called is checked, and its wait handed to the engine.

A wait is a record like a step's: a run that waits for long is only rows in its state file meanwhile. What is waited for
stands in `sleep`, `wait_for`, `wait_any`, `approvals` and `result_in_workflow`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import Any

from perdure.core.durations import LONGEST
from perdure.core.execution.spec import Spec
from perdure.core.execution.waiting import spec_of_wait
from perdure.core.values import codec
from perdure.engines.interface import Scope, StepContext, here
from perdure.errors import OptionError, UsageError


def scope_of(function: str, *, outside: bool = False) -> Any:
    """The workflow that waits; None outside of one, where that is allowed.

    Raises:
        UsageError: there is none, or a step is executing.
    """
    context = here.get()
    if isinstance(context, StepContext):
        raise UsageError(
            f"perdure.{function}() is called in step {context.call.spec.name!r}, which would hold up its process",
            "wait in the workflow, between its steps; a step that is to pause for a moment uses time.sleep",
        )
    if context is None and not outside:
        raise UsageError(
            f"perdure.{function}() is called outside a workflow", "call it in a function decorated with @workflow"
        )
    return context


def inside(function: str) -> Scope:
    """The workflow that waits; what waits for more than time needs one.

    Raises:
        UsageError: there is none, or a step is executing.
    """
    scope: Scope = scope_of(function)
    return scope


def blocking(scope: Any, function: str, wait: Any, name: str) -> Any:
    """`block_in`, for a function that has a twin in `perdure.aio`."""
    return block_in(scope, f"perdure.{function}()", f"await perdure.aio.{function}(...)", wait, name)


def refuse_to_block(scope: Any, function: str, instead: str) -> None:
    """Refuse a wait that blocks where an event loop executes the function, or the workflow.

    Raises:
        UsageError: it is so.
    """
    if scope.keeps_loop():
        raise UsageError(f"{function} would block the event loop that executes it", f"write: {instead}")
    if scope.is_async:
        raise UsageError(
            f"{function} is called on a thread of an async workflow, whose waits are in its event loop",
            f"write in the workflow: {instead}",
        )


def block_in(scope: Any, function: str, instead: str, wait: Any, name: str) -> Any:
    """Wait in a workflow, blocking the thread.

    Args:
        scope: of the workflow.
        function: what was called, for messages.
        instead: what async code writes.
        wait: what is waited for: see core/execution/waiting.py.
        name: tells it from others of its kind.

    Raises:
        UsageError: an event loop executes the function, or the workflow.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        Exception: what the wait ends with.
    """
    refuse_to_block(scope, function, instead)
    return scope.wait(_spec(wait), _given(wait), _key(name), wait)


def await_in(scope: Any, wait: Any, name: str) -> Awaitable[Any]:
    """The same in async code, where it is awaited at once."""
    waiting: Awaitable[Any] = scope.await_wait(_spec(wait), _given(wait), _key(name), wait)
    return waiting


def awaited(scope: Any, wait: Any, name: str) -> Awaitable[Any]:
    """`await_in`, for a function of `perdure.aio`: one that nobody awaits is noticed at the end of the run."""
    spec, given, key = _spec(wait), _given(wait), _key(name)
    waiting: Awaitable[Any] = scope.unawaited.watch(spec.owner, lambda: scope.await_wait(spec, given, key, wait), 2)
    return waiting


def _given(wait: Any) -> bytes:
    return codec.pack_inputs(wait.given, {}, owner=wait.name)


def _key(name: object) -> bytes:
    return codec.digest(wait_key(name).encode())


def _spec(wait: Any) -> Spec:
    spec = copy.copy(spec_of_wait(wait.name))
    spec.plan = wait.plan
    return spec


def event_name(value: object) -> str:
    """The name of an event that is waited for, checked.

    Raises:
        OptionError: it is not a printable text, or one of perdure's own.
    """
    if not isinstance(value, str) or not value or not value.isprintable():
        raise OptionError(f"the name of an event is {value!r}", "give a printable text that is not empty")
    if value.startswith("perdure."):
        raise OptionError(
            f"the name of an event is {value!r}; names that begin with 'perdure.' are perdure's own", "give another one"
        )
    return value


def wait_key(value: object) -> str:
    """The key of a wait, checked; it may be empty.

    Raises:
        OptionError: it is not a printable text.
    """
    if not isinstance(value, str) or not (value.isprintable() or not value):
        raise OptionError(f"the key of a wait is {value!r}", "give a printable text, or none")
    return value


def moment_of(when: object) -> float:
    """A moment that is waited for, in seconds since the epoch.

    Raises:
        OptionError: it is no datetime, a naive one, or one that never comes.
    """
    if not isinstance(when, datetime):
        raise OptionError(
            f"the moment is {when!r}", "give an aware datetime, such as datetime.now(UTC) + timedelta(...)"
        )
    if when.tzinfo is None or when.utcoffset() is None:
        raise OptionError(
            f"the moment is {when!r}, which has no time zone",
            "give an aware datetime: when.astimezone() takes it for the machine's own time",
        )
    moment = when.timestamp()
    if abs(moment - time.time()) > LONGEST:
        raise OptionError(f"the moment is {when!r}, more than a hundred years away", "give one that comes")
    return moment
