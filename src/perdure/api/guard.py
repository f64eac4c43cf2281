"""What circuit breakers and rate limits have in common when they stand alone: around a block, a function, a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from perdure.config import settings
from perdure.core.execution.spec import spec_of
from perdure.core.policies.breaker import Ticket
from perdure.core.policies.guard import Guard
from perdure.engines.interface import StepContext, here, script_around
from perdure.errors import BreakerOpen, OptionError

if TYPE_CHECKING:
    from perdure.engines.guards import Guards

P = ParamSpec("P")
R = TypeVar("R")

DELAY = 1.0
"""Seconds that everybody pauses after a 429 that names no delay; as the first wait of a `Retry`."""

_entered: ContextVar[tuple[tuple[object, Ticket], ...]] = ContextVar("perdure_entered", default=())
"""The blocks that the current thread or task is in, and what it was let into them with."""


class CallGuard:
    """Stands before calls of a service: `with it:`, `async with it:`, `@it`, `it.call(function, ...)`.

    Args:
        guard: what to come past.
        total: seconds that a caller waits at most, where it waits for a service to get well.
    """

    def __init__(self, guard: Guard, total: float) -> None:
        self._guard = guard
        self._total = total

    @property
    def name(self) -> str:
        """What it goes by in the state file."""
        return self._guard.service

    def __enter__(self) -> None:
        import time

        for seconds in self._coming():
            time.sleep(seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    async def __aenter__(self) -> None:
        import asyncio

        for seconds in self._coming():
            await asyncio.sleep(seconds)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Guard every call of a function, sync or async.

        Raises:
            OptionError: it is a step or a workflow, or nothing that can be called.
        """
        option = type(self).__name__.lower()
        spec = spec_of(fn)
        if spec is not None:
            hint = f"give it to the {'step' if spec.kind == 'step' else 'steps of it'}: @step({option}={self!r})"
            raise OptionError(f"@{option} was put above {spec.owner}", hint)
        if not callable(fn):
            raise OptionError(f"@{option} was given {fn!r}, which is not a function", "write it above a def")
        if inspect.iscoroutinefunction(fn):

            async def aguarded(*args: Any, **kwargs: Any) -> Any:
                async with self:
                    return await fn(*args, **kwargs)

            return functools.wraps(fn)(aguarded)  # type: ignore[return-value]

        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return fn(*args, **kwargs)

        return functools.wraps(fn)(guarded)

    def call(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Guard one call of a function; of an async one, what it returns is to be awaited."""
        return self(fn)(*args, **kwargs)

    # -- coming and going ---------------------------------------------------------------------------------------------

    def _coming(self) -> Iterator[float]:
        """Come past the guard; yields how many seconds are to pass each time before that can go on.

        Raises:
            BreakerOpen: the call is not to be made.
        """
        import random

        from perdure.core.execution.admission import Patience, admission

        guards, answer = guards_here(), None
        coming = admission(self._guard, self._total, Patience(), random.random, lambda seconds, reason: float(seconds))
        while True:
            try:
                effect = coming.send(answer)
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
        from perdure.core.execution.admission import telling
        from perdure.core.policies.classify import assess

        fault, assessment = capture.to_fault(error), assess(error, time.time())
        delay = DELAY if assessment.retry_after is None else assessment.retry_after
        return telling(self._guard, ticket, error, fault, assessment, delay, self._total)


def guards_here() -> Guards:
    """What is known of services where the caller is: in its run's state file, or in that of the script.

    Raises:
        StateError: the file cannot be used.
    """
    running: Any = here.get()
    scope = running.scope if isinstance(running, StepContext) else running
    guards: Guards | None = getattr(getattr(scope, "engine", None), "guards", None)
    if guards is not None:
        return guards
    from perdure.engines.guards import guards_at

    return guards_at(settings.state_path(script_around(running)))
