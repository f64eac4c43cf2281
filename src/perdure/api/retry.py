"""`@perdure.retry`: retries for any function, without a workflow. Nothing is saved."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast, overload

from perdure.api.options import function_name, source_of, unknown_option
from perdure.catalogue.rules import rules_for
from perdure.config.steady_clock import steady
from perdure.core.durations import Duration
from perdure.core.execution.attempts import Series
from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import spec_of
from perdure.core.policies.retry import Again, Matcher, Retry
from perdure.errors import OptionError, UsageError

F = TypeVar("F", bound=Callable[..., Any])


class RetryOptions(TypedDict, total=False):
    """The options of `@retry(...)`: those of `Retry`."""

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
    """The clocks, the sleep and the random numbers of `retry`, which tests replace."""

    now = staticmethod(time.time)
    steady = staticmethod(steady)
    sleep = staticmethod(time.sleep)

    def uniform(self) -> float:
        """A random number in [0, 1)."""
        import random  # here, since `import perdure` does not need it

        return random.random()

    async def asleep(self, seconds: float) -> None:
        """Sleep, without blocking the event loop."""
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
    """Retry a function when it fails: `@retry`, `@retry(attempts=5)`, `@retry(Retry(...))`, `get = retry(get)`.

    It is for code outside of workflows, and for a part of a step. A step has `@step(retry=...)`; the attempts of both
    multiply. Between two tries a sync function blocks its thread, an async one does not block the event loop. The rules
    are those of steps: permanent errors are raised at once, HTTP 429 and Retry-After are honoured. At the end
    the function's own last exception is raised, with a note on each try. KeyboardInterrupt, SystemExit and the
    cancellation of a task are never retried, and end a wait.

    Durations are seconds, a timedelta, or text such as "250ms", "30s" or "5m".

    Args:
        fn: the function, sync or async; or a policy, `Retry(...)`, instead of options.
        attempts: (int) tries in all, the first included. Default: 4.
        delay: (duration) the wait before the second try. Default: "1s".
        factor: (float, at least 1) each further wait is multiplied by it. Default: 2.
        cap: (duration) the longest wait, before jitter. Default: "60s".
        jitter: (duration or "full") a random time up to this is added to each wait; "full": each wait is a random part
            of what it would be. Default: "500ms".
        total: (duration) no try begins later than this after the first one began. Default: "15m".
        on: (exception class, tuple of classes, or function from an exception to bool) what is retried. Default:
            transient errors.
        never: (as `on`) what is not retried; it wins over `on`. Default: None.

    Raises:
        OptionError: an option does not exist or is not valid, or `fn` cannot be called a second time.
    """
    for name in options:
        if name not in KNOWN:
            raise unknown_option("retry", name, KNOWN)
    if fn is None:
        return functools.partial(_decorate, Retry(**options))
    if options:
        raise OptionError(
            f"@retry is given {fn!r} and options too", "give either, and put the function below: @retry(attempts=5)"
        )
    return functools.partial(_decorate, fn) if isinstance(fn, Retry) else _decorate(Retry(), fn)


def _decorate(policy: Retry, fn: Any) -> Any:
    """`fn` with retries by `policy`."""
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(_decorate(policy, fn.__func__))
    _refuse_others(fn)
    name = function_name(fn)
    file = source_of(fn)
    if _is(inspect.iscoroutinefunction, fn):

        async def aretried(*args: Any, **kwargs: Any) -> Any:
            tries = _Tries(policy, name, file)
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
        tries = _Tries(policy, name, file)
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
                f"@retry: {name!r} is an ordinary function that returned a coroutine, which would run after "
                "the last try",
                "make it an async def that awaits the call",
            )
        return value

    return functools.wraps(fn, updated=())(retried)


class _Tries:
    """The tries of one call."""

    def __init__(self, policy: Retry, name: str, file: str) -> None:
        self._policy = policy
        self._file = file
        self._owner = repr(name)
        self._number = 0
        self._started = 0.0
        self._series: Series | None = None
        # The time of day, for dates that servers name, counted on from here: setting the clock changes no wait.
        self._offset = clock.now() - clock.steady()

    def begin(self) -> None:
        """A try begins."""
        self._number += 1
        self._started = self._offset + clock.steady()

    def failed(self, error: Exception) -> float | None:
        """The try has failed. Seconds to wait before the next one; None: no more tries, and the error has notes."""
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            return None  # a class that is an Exception as well
        if self._series is None:
            self._series = Series()
        outcome = Outcome(None, error, self._started, self._offset + clock.steady() - self._started)
        rules = rules_for(self._file)
        judged = self._series.judge(self._policy, self._owner, self._number, error, outcome, clock.uniform, rules)
        return judged.decision.delay if isinstance(judged.decision, Again) else None


def _refuse_others(fn: Any) -> None:
    """Raise OptionError for what cannot be called a second time, or has its own retries."""
    spec = spec_of(fn)
    if spec is not None:
        hint = (
            "give the step its policy: @step(retry=Retry(...))"
            if spec.kind == "step"
            else "leave @retry out: the steps are retried, and a failed run that is run again goes on where it stopped"
        )
        raise OptionError(f"@retry is given {spec.owner}, which has its own attempts", hint)
    if isinstance(fn, type):
        raise OptionError(
            f"@retry is given the class {fn.__name__!r}",
            "put @retry above the methods; or above a function that makes the instance",
        )
    if not callable(fn):
        raise OptionError(
            f"@retry is given {fn!r}, which is not a function",
            "write @retry above a def, or @retry(attempts=5), or @retry(Retry(...))",
        )
    if _is(inspect.isgeneratorfunction, fn) or _is(inspect.isasyncgenfunction, fn):
        raise OptionError(
            f"@retry is given the generator {function_name(fn)!r}, which fails while it is read, after the last try",
            "return a list, or put @retry on the function that fetches one element",
        )


def _is(kind: Callable[[Any], bool], fn: Any) -> bool:
    """Whether a function, a partial of one, or an object that can be called is of this kind."""
    return kind(fn) or kind(cast(Any, type(fn)).__call__)
