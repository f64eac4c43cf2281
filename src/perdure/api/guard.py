"""What Breaker and Rate have in common outside of steps: `with`, `async with`, as a decorator, and `call`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from perdure.api.options import function_name
from perdure.catalogue.rules import rules_for
from perdure.config import settings
from perdure.core.execution.spec import spec_of
from perdure.core.policies.breaker import Ticket
from perdure.core.policies.guard import Guard
from perdure.engines.interface import StepContext, here, script_around
from perdure.errors import BreakerOpen, OptionError, UsageError

if TYPE_CHECKING:
    from perdure.engines.guards import Guards

P = ParamSpec("P")
R = TypeVar("R")

DELAY = 1.0
"""Seconds that all callers pause after a 429 that names no delay; as the first wait of a `Retry`."""

_entered: ContextVar[tuple[tuple[object, Ticket], ...]] = ContextVar("perdure_entered", default=())
"""The guarded blocks that the current thread or task is in, each with its ticket."""


class CallGuard:
    """Guards calls of a service: `with guard:`, `async with guard:`, `@guard`, `guard.call(function, ...)`.

    Args:
        guard: the breaker and the rate that a call has to pass.
        total: seconds that a call waits at most for a service to recover.
    """

    def __init__(self, guard: Guard, total: float) -> None:
        self._guard = guard
        self._total = total

    @property
    def name(self) -> str:
        """The name that the state file and `perdure breaker ls` have for it."""
        return self._guard.service

    def __enter__(self) -> None:
        """Wait until the call may be made. Blocks the thread.

        Raises:
            BreakerOpen: the call must not be made.
            StateError: the state file cannot be used.
        """
        import time

        for seconds in self._enter():
            time.sleep(seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    async def __aenter__(self) -> None:
        """Wait until the call may be made, without blocking the event loop.

        Raises:
            BreakerOpen: the call must not be made.
            StateError: the state file cannot be used.
        """
        import asyncio

        for seconds in self._enter():
            await asyncio.sleep(seconds)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Guard every call of a function: `@breaker` above a `def` or an `async def`.

        Args:
            fn: the function.

        Raises:
            OptionError: it is a step, a workflow, a class or a generator, or not callable.
        """
        option = type(self).__name__.lower()
        spec = spec_of(fn)
        if spec is not None:
            hint = f"give it to the {'step' if spec.kind == 'step' else 'steps of it'}: @step({option}={self!r})"
            raise OptionError(f"@{option} is put above {spec.owner}", hint)
        if not callable(fn):
            raise OptionError(f"@{option} is given {fn!r}, which is not a function", "write it above a def")
        if isinstance(fn, type):
            raise OptionError(
                f"@{option} is given the class {fn.__name__!r}",
                "put it above the methods; or above a function that makes the instance",
            )
        return self._guarded(fn, option)

    def _guarded(self, fn: Callable[P, R], option: str) -> Callable[P, R]:
        if _is(inspect.isgeneratorfunction, fn) or _is(inspect.isasyncgenfunction, fn):
            raise OptionError(
                f"@{option} is given the generator {function_name(fn)!r}, which fails while it is read, after the call",
                "return a list, or put it on the function that fetches one element",
            )
        if _is(inspect.iscoroutinefunction, fn):

            async def aguarded(*args: Any, **kwargs: Any) -> Any:
                async with self:
                    return await fn(*args, **kwargs)  # type: ignore[misc]

            return functools.wraps(fn)(aguarded)  # type: ignore[return-value]

        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return _finished(fn(*args, **kwargs), fn, option)

        return functools.wraps(fn)(guarded)

    def call(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Guard one call of a function.

        Args:
            fn: the function, sync or async.
            args: its positional arguments.
            kwargs: its keyword arguments.

        Returns:
            What the function returns; for an async function a coroutine, to be awaited.

        Raises:
            BreakerOpen: the call was not made.
            Exception: what the function raises.
        """
        if isinstance(fn, type):  # to make an instance may well call the service
            make: Callable[P, R] = fn
            return self._guarded(make, type(self).__name__.lower())(*args, **kwargs)
        return self(fn)(*args, **kwargs)

    def _enter(self) -> Iterator[float]:
        """Pass the guard; yields the seconds to wait, until the call may be made.

        Raises:
            BreakerOpen: the call must not be made.
        """
        import random

        from perdure.core.execution.admission import Patience, admission

        guards, answer = guards_here(), None
        entering = admission(
            self._guard, self._total, Patience(), random.random, lambda seconds, reason: float(seconds)
        )
        while True:
            try:
                effect = entering.send(answer)
            except StopIteration as end:
                entry: Ticket | BreakerOpen = end.value
                break
            answer = None
            if isinstance(effect, float):
                yield effect
            else:
                answer = guards.admit(effect.guard, effect.turn)
        if isinstance(entry, BreakerOpen):
            raise entry
        _entered.set((*_entered.get(), (self, entry)))

    def _leave(self, error: BaseException | None) -> None:
        *outer, (_, ticket) = _entered.get()
        _entered.set(tuple(outer))
        guards = guards_here()
        if error is None:
            from perdure.core.execution.effects import Report

            guards.report(Report(self._guard, ticket, "success"))
        elif isinstance(error, Exception):
            guards.report(self._failure(error, ticket))
        else:
            guards.give_back(self._guard, ticket)

    def _failure(self, error: Exception, ticket: Ticket) -> Any:
        import time

        from perdure.core.exceptions import capture
        from perdure.core.execution.admission import failure_report
        from perdure.core.policies.classify import assess

        rules = rules_for(script_around(here.get()))
        fault, assessment = capture.to_fault(error), assess(error, time.time(), rules)
        delay = DELAY if assessment.retry_after is None else assessment.retry_after
        return failure_report(self._guard, ticket, error, fault, assessment, delay, self._total)


def _is(kind: Callable[[Any], bool], fn: Any) -> bool:
    """Whether a function, a partial of one, or an object that can be called is of this kind."""
    return kind(fn) or (not isinstance(fn, type) and kind(cast(Any, type(fn)).__call__))


def _finished(value: R, fn: Callable[..., R], option: str) -> R:
    """What an ordinary function returns, if the call is over with that.

    Raises:
        UsageError: it is a coroutine or a generator, which runs after the call, where a failure is not seen.
    """
    if inspect.iscoroutine(value):
        value.close()
        kind, hint = "coroutine", "make it an async def that awaits the call"
    elif inspect.isgenerator(value) or inspect.isasyncgen(value):
        kind, hint = "generator", "return a list, or put it on the function that fetches one element"
    else:
        return value
    raise UsageError(f"@{option}: {function_name(fn)!r} returns a {kind}, which runs after the call", hint)


def guards_here() -> Guards:
    """The breakers and rates of the state file of the current run; outside of runs, of the script.

    Raises:
        StateError: the file cannot be used.
    """
    running: Any = here.get()
    scope = running.scope if isinstance(running, StepContext) else running
    resources = getattr(scope, "resources", None)
    if resources is not None:
        found: Guards = resources.guards
        return found
    from perdure.engines.guards import guards_at

    return guards_at(settings.state_path(script_around(running)))
