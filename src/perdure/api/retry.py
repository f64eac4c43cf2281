"""Trying again without a workflow: `@perdure.retry` around any function. Nothing is saved."""

from __future__ import annotations

import functools
import inspect
import random
import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast, overload

from perdure.api.options import function_name, unknown_option
from perdure.core.durations import Duration
from perdure.core.execution.call import Series
from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import spec_of
from perdure.core.policies.retry import Again, Matcher, Retry
from perdure.errors import OptionError, UsageError

F = TypeVar("F", bound=Callable[..., Any])


class RetryOptions(TypedDict, total=False):
    """What `@retry(...)` takes by keyword: the values of a `Retry`."""

    attempts: int
    delay: Duration
    factor: float
    cap: Duration
    jitter: Duration | Literal["full"]
    total: Duration
    on: Matcher | None
    never: Matcher | None


KNOWN = tuple(RetryOptions.__annotations__)


class Clock:
    """Time and chance, in one place, so that tests can put others in theirs."""

    now = staticmethod(time.time)
    steady = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    uniform = staticmethod(random.random)

    async def asleep(self, seconds: float) -> None:
        """Let time pass, for one task."""
        import asyncio

        await asyncio.sleep(seconds)


clock = Clock()


@overload
def retry(policy: Retry, /) -> Callable[[F], F]: ...
@overload
def retry(fn: None = None, /, **options: Unpack[RetryOptions]) -> Callable[[F], F]: ...
@overload
def retry(fn: F, /) -> F: ...
def retry(fn: Any = None, /, **options: Any) -> Any:
    """Try a function again when it fails: `@retry`, `@retry(attempts=5)`, `@retry(Retry(...))`, `get = retry(get)`.

    For code outside workflows, or for a part of a step; a step itself has `retry=` for this, which multiplies with what
    is used inside of it. It blocks the thread between two tries, or lets the task wait if the function is async. The
    rules are those of steps: errors that cannot heal are raised at once, HTTP 429 and Retry-After are honoured. What is
    raised in the end is the last try's own exception, with the tries in its notes. KeyboardInterrupt, SystemExit and
    a task's cancellation pass at once, also while it waits.

    Args:
        fn: the function, sync or async; or the policy, a `Retry`.
        attempts: tries in all, the first one included; 4 by default.
        delay: the wait before the second try; "1s" by default.
        factor: what each further wait is multiplied by; 2 by default.
        cap: the longest wait, before jitter; "60s" by default.
        jitter: up to this much is added to each wait, at random; "500ms" by default. "full": a random part of the wait.
        total: no try begins later than this after the first one began; "15m" by default.
        on: what is retried, instead of what may heal: an exception class, a tuple of them, or a function that is given
            the exception and says yes or no.
        never: what is not retried, in the same forms. It wins over `on`.

    Raises:
        OptionError: an option is not valid, or this is nothing that can be called again.
    """
    for name in options:
        if name not in KNOWN:
            raise unknown_option("retry", name, KNOWN)
    if fn is None:
        return functools.partial(_decorate, Retry(**options))
    if options:
        raise OptionError(
            f"@retry was given {fn!r} and options too", "give either, and put the function below: @retry(attempts=5)"
        )
    return functools.partial(_decorate, fn) if isinstance(fn, Retry) else _decorate(Retry(), fn)


def _decorate(policy: Retry, fn: Any) -> Any:
    """`fn` under `policy`."""
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(_decorate(policy, fn.__func__))
    _refuse_others(fn)
    name = function_name(fn)
    if _is(inspect.iscoroutinefunction, fn):

        async def aretried(*args: Any, **kwargs: Any) -> Any:
            tries = _Tries(policy, name)
            while True:
                tries.begin()
                try:
                    return await fn(*args, **kwargs)
                except Exception as error:
                    delay = tries.failed(error)
                    if delay is None:
                        raise
                await clock.asleep(delay)

        return functools.wraps(fn, updated=())(aretried)

    def retried(*args: Any, **kwargs: Any) -> Any:
        tries = _Tries(policy, name)
        while True:
            tries.begin()
            try:
                value = fn(*args, **kwargs)
                break
            except Exception as error:
                delay = tries.failed(error)
                if delay is None:
                    raise
            clock.sleep(delay)
        if type(value) is CoroutineType:
            value.close()
            raise UsageError(
                f"@retry: {name!r} is an ordinary function that returned a coroutine, which would run when the "
                "retrying is over",
                "make it an async def that awaits the call",
            )
        return value

    return functools.wraps(fn, updated=())(retried)


class _Tries:
    """The tries of one call."""

    def __init__(self, policy: Retry, name: str) -> None:
        self._policy = policy
        self._owner = repr(name)
        self._number = 0
        self._started = 0.0
        self._series: Series | None = None
        # The time of day, for dates that servers name, as it goes on from here: whoever sets the clock changes no wait.
        self._offset = clock.now() - clock.steady()

    def begin(self) -> None:
        """A try begins."""
        self._number += 1
        self._started = self._offset + clock.steady()

    def failed(self, error: Exception) -> float | None:
        """It has failed. Seconds to wait before the next; None if there is to be none, and the error says so."""
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            return None  # a class that is an Exception as well
        if self._series is None:
            self._series = Series()
        outcome = Outcome(None, error, self._started, self._offset + clock.steady() - self._started)
        verdict, _ = self._series.judge(self._policy, self._owner, self._number, error, outcome, clock.uniform)
        return verdict.delay if isinstance(verdict, Again) else None


def _refuse_others(fn: Any) -> None:
    """Raise OptionError for what cannot be called again, or has a better way to be."""
    spec = spec_of(fn)
    if spec is not None:
        hint = (
            "give the step its policy: @step(retry=Retry(...))"
            if spec.kind == "step"
            else "its steps are retried; running a failed workflow again goes on where it stopped"
        )
        raise OptionError(f"@retry was given {spec.owner}, which keeps its own account of attempts", hint)
    if isinstance(fn, type):
        raise OptionError(
            f"@retry was given the class {fn.__name__!r}",
            "put @retry above the methods; or above a function that makes the instance",
        )
    if not callable(fn):
        raise OptionError(
            f"@retry was given {fn!r}, which is not a function",
            "write @retry above a def, or @retry(attempts=5), or @retry(Retry(...))",
        )
    if _is(inspect.isgeneratorfunction, fn) or _is(inspect.isasyncgenfunction, fn):
        raise OptionError(
            f"@retry was given the generator {function_name(fn)!r}, which fails while it is read, when this is over",
            "return a list, or put @retry on the function that fetches one element",
        )


def _is(kind: Callable[[Any], bool], fn: Any) -> bool:
    """Whether a function, a partial of one, or an object that can be called is of this kind."""
    return kind(fn) or kind(cast(Any, type(fn)).__call__)
