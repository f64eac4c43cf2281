"""Steps: functions whose results are saved."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sized
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from perdure.api.batch import Batch
from perdure.config import settings
from perdure.core.durations import bound
from perdure.core.execution.identity import identify, identify_by
from perdure.core.execution.spec import Call, Spec
from perdure.core.policies.retry import Retry
from perdure.core.records import RESERVED, StepKind
from perdure.engines.interface import Concurrency, OnFailure, Scope, StepContext, here
from perdure.engines.registry import register
from perdure.errors import OptionError, UsageError

if TYPE_CHECKING:
    from perdure.api.breaker import Breaker
    from perdure.api.rate import Rate

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
S = TypeVar("S")

Duration = float | str | timedelta

DEFAULT_RETRY = Retry()


class _Unset:
    def __repr__(self) -> str:
        return "unset"


UNSET = _Unset()


class BoundStep(Generic[P, R_co]):
    """A step whose first arguments are given: as a method, of the instance that it belongs to.

    The instance is part of the step's inputs if it can be stored; its class stands for it if not.
    """

    def __init__(self, spec: Spec, *first: Any) -> None:
        self.spec = spec
        self._first = first

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the step."""
        return cast(R_co, _call(self.spec, (*self._first, *args), kwargs))

    def arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """All arguments of a call with these, the first ones included."""
        return (*self._first, *args)

    def __repr__(self) -> str:
        return f"<step {self.spec.name!r}{f' of {self._first[0]!r}' if self._first else ''}>"

    @overload
    def map(  # type: ignore[overload-overlap]  # a coroutine is a T as well; the first match is meant
        self: BoundStep[Concatenate[S, Q], Coroutine[Any, Any, T]],
        items: Iterable[S] | AsyncIterable[S],
        *,
        key: Callable[[S], Any] | None = None,
        concurrency: Concurrency = 1,
        on_failure: OnFailure = "dead_letter",
    ) -> Awaitable[Batch[T]]: ...
    @overload
    def map(
        self: BoundStep[Concatenate[S, Q], T],
        items: Iterable[S],
        *,
        key: Callable[[S], Any] | None = None,
        concurrency: Concurrency = 1,
        on_failure: OnFailure = "dead_letter",
    ) -> Batch[T]: ...
    def map(
        self,
        items: Any,
        *,
        key: Callable[[Any], Any] | None = None,
        concurrency: Concurrency = 1,
        on_failure: OnFailure = "dead_letter",
    ) -> Any:
        """Call the step for every item, each with a checkpoint of its own.

        Args:
            items: what to go through; for an async step it may be asynchronous too. Items are drawn as they are needed.
            key: takes an item and says what identifies it; by default its content does. Items are matched with what was
                done before by this key, never by their place.
            concurrency: how many items run at a time: in threads for a sync step, in tasks for an async one. "auto"
                finds out how many the service bears, from 4, up to 64: one more after each round that went well, half
                as many after an attempt that is throttled (HTTP 429, Retry-After) or times out. Not on a cluster.
            on_failure: "dead_letter" parks an item that fails for good and goes on; "raise" raises its error.

        Returns:
            A Batch; for an async step, something to await that gives one.

        Raises:
            OptionError: an option is not valid.
            Drift: items that were done before are gone from the list, and new ones are there instead.
        """
        return _map(self.spec, self._first, items, key, concurrency, on_failure)


class Step(BoundStep[P, R_co]):
    """A function whose result is saved when a workflow calls it.

    Called from a workflow: the first call runs the function (tries it again when it fails) and saves the result; a
    later run of the same workflow gets the saved result. Called from anywhere else: the plain function.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        register(spec)
        functools.update_wrapper(self, spec.fn, updated=())
        if spec.is_async and hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)

    def __set_name__(self, owner: type, name: str) -> None:
        self.spec.is_method = True
        self.spec.receiver = owner

    @overload
    def __get__(self, instance: None, owner: type) -> Step[P, R_co]: ...
    @overload
    def __get__(self: Step[Concatenate[S, Q], R_co], instance: S, owner: type | None = None) -> BoundStep[Q, R_co]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The step as a method of an instance."""
        return self if instance is None else BoundStep(self.spec, instance)


def _call(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = here.get()
    if scope is None or type(scope) is StepContext:
        return spec.fn(*args, **kwargs)
    running = cast(Scope, scope)
    return running.acall(spec, args, kwargs) if spec.is_async else running.call(spec, args, kwargs)


def _map(
    spec: Spec,
    first: tuple[Any, ...],
    items: Any,
    key: Callable[[Any], Any] | None,
    concurrency: Concurrency,
    on_failure: OnFailure,
) -> Any:
    if concurrency != "auto" and (not isinstance(concurrency, int) or concurrency < 1 or concurrency is True):
        raise OptionError(f"concurrency is {concurrency!r}", 'give a whole number of at least 1, or "auto"')
    _checked(on_failure)
    scope = here.get()
    if not isinstance(items, Iterable) and not (spec.is_async and isinstance(items, AsyncIterable)):
        raise OptionError(
            f"{spec.owner} cannot go through {type(items).__name__!r} item by item", "give a list or another iterable"
        )
    if scope is None or type(scope) is StepContext:
        raise UsageError(
            f"{spec.owner}: map was called outside a workflow, where nothing is saved",
            "call it from a function decorated with @workflow, or use an ordinary loop",
        )
    running = cast(Scope, scope)

    def bind(item: Any) -> Call:
        args = (*first, item)
        return identify(spec, args, {}) if key is None else identify_by(spec, args, {}, key(item))

    total = len(items) if isinstance(items, Sized) else None
    if spec.is_async:
        return _amap(running, spec, items, bind, concurrency, on_failure, total)
    calls = map(bind, cast(Iterable[Any], items))
    return Batch.of(running.batch(calls, spec, concurrency, on_failure, total), running.reader(), spec)


async def _amap(
    scope: Scope,
    spec: Spec,
    items: Any,
    bind: Callable[[Any], Call],
    concurrency: Concurrency,
    on_failure: OnFailure,
    total: int | None,
) -> Batch[Any]:
    tally = await scope.abatch(items, bind, spec, concurrency, on_failure, total)
    return Batch.of(tally, scope.reader(), spec)


class StepOptions(TypedDict, total=False):
    """What `@step(...)` takes by keyword; see `step`."""

    name: str | None
    retry: Retry | None
    timeout: Duration | None
    isolate: bool
    key: Callable[..., Any] | None
    undo: BoundStep[..., Any] | None
    breaker: str | Breaker | None
    rate: str | Rate | None


KNOWN = (*StepOptions.__annotations__, "on_failure")


class _Parking(Protocol):
    """The decorator `@step(on_failure="dead_letter")`: the result may be None."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, Coroutine[Any, Any, T | None]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R | None]: ...


@overload
def step(fn: Callable[P, R], /, **options: Unpack[StepOptions]) -> Step[P, R]: ...
@overload
def step(fn: None = None, /, **options: Unpack[StepOptions]) -> Callable[[Callable[P, R]], Step[P, R]]: ...
@overload
def step(
    fn: None = None, /, *, on_failure: Literal["raise"], **options: Unpack[StepOptions]
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
@overload
def step(fn: None = None, /, *, on_failure: Literal["dead_letter"], **options: Unpack[StepOptions]) -> _Parking: ...
def step(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a step of a function: `@step`, `@step(timeout="20s")`, or `get = step(httpx.get, name="get")`.

    Args:
        fn: the function, sync or async.
        name: what it goes by in the journal; the function's qualified name by default. Renaming it makes it another
            step. Any text but one that begins with `perdure.`.
        retry: when to try again after a failure; `Retry()` by default, None for a single try.
        timeout: how long one attempt may take: seconds, a timedelta or "250ms", "30s", "5m", "2h"; None for no bound.
            By default STEP_TIMEOUT_MS, `step_timeout` in pyproject.toml, or 10 minutes.
        isolate: run each attempt in a process of its own, which is killed when its time is over.
        key: takes the arguments and returns what identifies the call. By default the arguments do, all of which can be
            stored then.
        undo: the step that takes back what this one did. When the run fails or is cancelled, it is called with this
            one's result, the last call first; what was undone is done again if the run is resumed.
        breaker: the name of the service that it calls, or a `Breaker`. While that is open, calls wait for it within
            `Retry(total=...)`, or fail at once with BreakerOpen (`Breaker(when_open="fail")`); no attempt is used.
        rate: how often it may be called: "10/s", "100/min"; shared by all steps of its name in all threads, tasks and
            processes on the state file. A `Rate` is shared by all steps that are given it.
        on_failure: what a call does that fails for good: "raise" (by default), or "dead_letter": it is parked with its
            input and attempts, to be looked at and re-driven, and the call returns None. (`map` has its own.)

    Raises:
        OptionError: an option is not valid.
    """
    for name in options:
        if name not in KNOWN:
            raise unknown_option("step", name, KNOWN)
    if fn is None:
        return lambda function: step(function, **options)
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(step(fn.__func__, **options))
    return Step(_spec(fn, **options))


def builtin(
    name: str, *, kind: StepKind = "builtin", key: Callable[..., Any] | None = None
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a step of perdure's own, under a name that users cannot give: tried once, for as long as it takes.

    Args:
        name: what it goes by in the journal.
        kind: that of the records of its calls.
        key: as for `step`.
    """
    return lambda fn: Step(_spec(fn, name=name, retry=None, timeout=None, key=key, kind=kind))


def _spec(
    fn: Callable[..., Any],
    *,
    name: str | None = None,
    retry: Retry | None = DEFAULT_RETRY,
    timeout: Duration | _Unset | None = UNSET,
    isolate: bool = False,
    key: Callable[..., Any] | None = None,
    undo: BoundStep[..., Any] | None = None,
    breaker: str | Breaker | None = None,
    rate: str | Rate | None = None,
    on_failure: OnFailure = "raise",
    kind: StepKind = "step",
) -> Spec:
    if not callable(fn):
        raise OptionError(
            f"@step was given {fn!r}, which is not a function", "write @step above a def, or step(function, ...)"
        )
    if isinstance(fn, Step):
        raise OptionError(f"{fn!r} is a step already", "decorate the function once")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise OptionError(
            f"step {function_name(fn)!r} is a generator: what it yields cannot be saved as one result",
            "return a list; or make a step of what is done for each element",
        )
    name = function_name(fn) if name is None else name
    if not isinstance(name, str) or not name:
        raise OptionError(f"the name of a step is {name!r}", "give a text that is not empty")
    if kind == "step":
        refuse_reserved("step", name)
    spec = Spec("step", fn, name, retry=Retry.of(retry), isolate=isolate, key=key)
    spec.record_kind = kind
    spec.locals = surroundings(fn)
    spec.park = _checked(on_failure) == "dead_letter"
    if undo is not None:
        spec.undo = _undo(spec, undo)
    if breaker is not None or rate is not None:
        from perdure.api.rate import guard_of  # not before a step asks for it

        spec.guard = guard_of(name, breaker, rate)
    if isinstance(timeout, _Unset):
        spec.timeout, spec.explicit = settings.step_timeout(spec.file)
    elif timeout is not None:
        spec.timeout, spec.explicit = bound(timeout, option="timeout"), True
    if isolate:
        from perdure.engines.runtime.isolated_step import check_isolable

        check_isolable(spec)
    return spec


def _checked(on_failure: Any) -> OnFailure:
    if on_failure not in ("dead_letter", "raise"):
        raise OptionError(f"on_failure is {on_failure!r}", 'it is "dead_letter" or "raise"')
    checked: OnFailure = on_failure
    return checked


def _undo(spec: Spec, undo: Any) -> Spec:
    if not isinstance(undo, Step):
        raise OptionError(
            f"undo of {spec.owner} is {undo!r}, which is not a step",
            "decorate the function that takes it back with @step, above this one, and name it: undo=that_function",
        )
    if undo.spec.is_async and not spec.is_async:
        raise OptionError(f"undo of {spec.owner} is async, and the step is not", "make both sync, or both async")
    return undo.spec


def refuse_reserved(kind: str, name: str) -> None:
    """Keep the names of perdure's own steps for those.

    Raises:
        OptionError: the name begins as they do.
    """
    if name.startswith(RESERVED):
        raise OptionError(
            f"the name of a {kind} is {name!r}; names that begin with {RESERVED!r} are perdure's own",
            f"give it another one: @{kind}(name={name.removeprefix(RESERVED) or kind!r})",
        )


def function_name(fn: Callable[..., Any]) -> str:
    """What a function goes by: its qualified name, without the marks of functions inside functions."""
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    if name is None:
        partial = getattr(fn, "func", None)
        name = function_name(partial) if partial is not None else type(fn).__qualname__
    return str(name).rpartition("<locals>.")[2]


def surroundings(fn: Callable[..., Any]) -> dict[str, Any]:
    """The names around a function that is being defined inside another: its annotations may mention them."""
    if "<locals>" not in getattr(fn, "__qualname__", ""):
        return {}
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("perdure."):
        frame = frame.f_back
    return dict(frame.f_locals)


def unknown_option(decorator: str, name: str, known: tuple[str, ...]) -> OptionError:
    """The error for an option that does not exist, with the one that was probably meant."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return OptionError(f"@{decorator} has no option {name!r}", f"{meant}It knows: {', '.join(known)}")
