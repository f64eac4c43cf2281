"""`@step`: functions whose results are saved."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable
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
    overload,
)

import perdure.api.artifact_codec  # noqa: F401  a step of before may have returned one
from perdure.api.options import (
    checked_ensure,
    checked_input,
    checked_max_repeats,
    checked_on_failure,
    function_name,
    refuse_in_child_process,
    refuse_reserved,
    rules_of,
    say_unlike,
    surroundings,
    unknown_option,
)
from perdure.api.pickling import KeptHere
from perdure.config import settings
from perdure.config.module_names import place
from perdure.config.script_loader import stop_load
from perdure.core.callables import is_generator_function, mark_coroutine_function
from perdure.core.durations import Duration, bound
from perdure.core.execution.spec import InputKept, Spec
from perdure.core.policies.retry import Retry, policy_of
from perdure.core.records import StepKind
from perdure.engines.interface import Concurrency, OnFailure, Scope, StepContext, here, under_way
from perdure.engines.registry import own, register
from perdure.errors import OptionError, UsageError

if TYPE_CHECKING:
    from perdure.api.batch import Batch
    from perdure.api.breaker import Breaker
    from perdure.api.rate import Rate

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
S = TypeVar("S")

DEFAULT_RETRY = Retry()


class _Unset:
    def __repr__(self) -> str:
        return "unset"


UNSET = _Unset()


class BoundStep(KeptHere, Generic[P, R_co]):
    """A step that is a method, bound to its instance: what `client.charge` is where `charge` is a step of a class.

    It is called like a method. The instance is part of the step's inputs if it can be stored (a dataclass); if not, its
    class says what it goes by, `__perdure_key__(self)`, or the step has a `key=`. `Step` is a BoundStep without an
    instance, so an annotation `BoundStep[[Order], Receipt]` takes both.
    """

    def __init__(self, spec: Spec, *first: Any) -> None:
        self._spec = spec
        self._first = first

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the step: in a workflow with a saved result, elsewhere as the plain function.

        Raises:
            NotStorable: an argument or the result cannot be stored without loss.
            Exception: what the function raises, once its retries are used up.
        """
        result: R_co = _call(self._spec, (*self._first, *args) if self._first else args, kwargs)
        return result

    def _arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The positional arguments of a call, the instance first."""
        return (*self._first, *args)

    def __repr__(self) -> str:
        return f"<step {self._spec.name!r}{f' of {self._first[0]!r}' if self._first else ''}>"

    @overload
    def map(  # type: ignore[overload-overlap]  # a coroutine is a T as well; the first match is meant
        self: BoundStep[Concatenate[S, Q], Coroutine[Any, Any, T]],
        items: Iterable[S] | AsyncIterable[S],
        *,
        key: Callable[[S], Any] | None = None,
        concurrency: Concurrency = 1,
        processes: int | None = None,
        on_failure: OnFailure = "dead_letter",
        max_dead: int | None = None,
    ) -> Awaitable[Batch[T]]: ...
    @overload
    def map(
        self: BoundStep[Concatenate[S, Q], T],
        items: Iterable[S],
        *,
        key: Callable[[S], Any] | None = None,
        concurrency: Concurrency = 1,
        processes: int | None = None,
        on_failure: OnFailure = "dead_letter",
        max_dead: int | None = None,
    ) -> Batch[T]: ...
    def map(
        self,
        items: Any,
        *,
        key: Callable[[Any], Any] | None = None,
        concurrency: Concurrency = 1,
        processes: int | None = None,
        on_failure: OnFailure = "dead_letter",
        max_dead: int | None = None,
    ) -> Any:
        """Call the step for every item, each with a checkpoint of its own. Only inside a workflow.

        Args:
            items: an iterable; for an async step also an async iterable. Items are drawn as they are needed, so an
                endless generator will do.
            key: a function from an item to what identifies it, a value that can be stored. Default: the item itself. On
                resume items are matched by key, never by position.
            concurrency: how many items run at a time, in threads for a sync step, in tasks for an async one. "auto"
                adapts between 1 and 64, starting with 4: one more after each round without trouble, half as many after
                an attempt that is throttled (HTTP 429, Retry-After) or times out (additive increase, multiplicative
                decrease; Chiu and Jain, 1989). A cluster does not have "auto".
            processes: (int, 1 or more) for work that keeps a processor busy: so many items run at a time, in as many
                processes, which are kept until the map has ended. A process that dies costs one attempt of its item;
                at its timeout an item's process is killed. The step has to be at the top level of a file, and its
                arguments and results are copied. Instead of `concurrency`. Not on a cluster. Default: None.
            on_failure: "dead_letter": an item that fails for good becomes a dead letter, and the others go on. "raise":
                its error is raised. A fault of the program is raised in any case: a TypeError or AttributeError in the
                script's own code for each of the first ten items and of a sample of the others, which ends the map; and
                a result that cannot be stored, or a name that does not exist, when the others are done.
            max_dead: (int or None) so many dead letters are put up with; with one more, the map ends and HasDeadLetters
                is raised. 0: the first one ends it. Default: None, any number.

        Returns:
            A Batch; from an async step, an awaitable of one.

        Raises:
            OptionError: an option is not valid.
            UsageError: called outside a workflow.
            Drift: items that were completed before are missing now, and new ones are there instead.
            HasDeadLetters: there are more dead letters than `max_dead`.
            Exception: the error of an item, with `on_failure="raise"` or if the program is at fault.
        """
        from perdure.api.map import map_over  # not before a script maps

        return map_over(self._spec, self._first, items, key, concurrency, processes, on_failure, max_dead)


class _WrappedMap:
    """What `map` is of a function around a step, to which functools.wraps copies the attributes of the step."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        raise UsageError(
            f"map is called of a function that a decorator has made around {self._owner}: it would leave out what the "
            "decorator does",
            "put the decorator below @step, next to the function",
        )


class _OwnMethod:
    """A method that goes before an attribute of the instance: a step has its own `map`, what wraps it has the other."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._function if instance is None else self._function.__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError("the map of a step cannot be set")


if not TYPE_CHECKING:
    BoundStep.map = _OwnMethod(BoundStep.map)


class Step(BoundStep[P, R_co]):
    """A function whose result is saved when a workflow calls it; `@step` makes it.

    In a workflow, the first call runs the function, with retries, and saves the result; when the run is resumed, the
    call returns the saved result. Outside a workflow, a call is a call of the plain function.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        register(spec)
        functools.update_wrapper(self, spec.fn, updated=())
        vars(self)["map"] = _WrappedMap(spec.owner)
        if spec.is_async:
            mark_coroutine_function(self)

    def __set_name__(self, owner: type, name: str) -> None:
        self._spec.is_method = True
        self._spec.receiver = owner

    @overload
    def __get__(self, instance: None, owner: type) -> Step[P, R_co]: ...
    @overload
    def __get__(self: Step[Concatenate[S, Q], R_co], instance: S, owner: type | None = None) -> BoundStep[Q, R_co]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The step, bound to an instance when it is accessed through one."""
        return self if instance is None else BoundStep(self._spec, instance)


def _call(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = here.get()
    if scope is None or type(scope) is StepContext:
        if scope is None:
            stop_load(f"calls {spec.owner}")
            refuse_in_child_process(spec)
            if under_way and spec.record_kind == "step":
                _unsaved().stray(spec)
        elif spec.record_kind == "step":
            _unsaved().nested(spec, scope)
        return spec.fn(*args, **kwargs)
    running: Scope = scope  # type: ignore[assignment]
    if spec.is_async:
        return running.unawaited.watch(spec.owner, lambda: running.acall(spec, args, kwargs), 2)
    return running.call(spec, args, kwargs)


def _unsaved() -> Any:
    from perdure.engines.runtime import unsaved

    return unsaved


class StepOptions(TypedDict, total=False):
    """The options of `@step(...)`; see `step`."""

    name: str | None
    retry: Retry | None
    timeout: Duration | None
    isolate: bool
    key: Callable[..., Any] | None
    undo: BoundStep[..., Any] | None
    breaker: str | Breaker | None
    rate: str | Rate | None
    ensure: Callable[[Any], object] | None
    max_repeats: int | None
    input: InputKept
    artifact_above: int | None


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
    """Make a step of a function: `@step`, `@step(timeout="20s")`, or `read = step(read_text, name="read")`.

    In a workflow the result of a step is saved before the workflow sees it, and a resumed run gets the saved result.
    Outside a workflow a step is the plain function.

    Args:
        fn: the function, sync or async; it may be a method.
        name: (str) the name in the state file. Default: the function's qualified name. A renamed step is another step.
            Names that begin with `perdure.` are perdure's own.
        retry: (Retry or None) when to try again. Default: `Retry()`, 4 attempts. None: one try.
        timeout: (seconds, timedelta or text such as "250ms", "30s", "5m", "2h"; or None) the longest that one attempt
            may take. None: no bound. Default: STEP_TIMEOUT_MS, `step_timeout` in pyproject.toml, or 10 minutes.
        isolate: (bool) run each attempt in a process of its own, which is killed at the timeout. Default: False.
        key: (function) takes the arguments of a call and returns what identifies it, a value that can be stored.
            Default: all arguments, which have to be storable then.
        undo: (Step) the step that reverts this one. When the run fails or is cancelled, it is called with the result of
            each call of this one, the last first. A resumed run makes the reverted calls again. Default: None.
        breaker: (str or Breaker) the service that the step calls, by name, or a Breaker. While it is open, calls wait
            within `Retry(total=...)`, or fail at once (`Breaker(when_open="fail")`); no attempt is used up.
            Default: None.
        rate: (str or Rate) how often the step may be called: "10/s", "100/min", "5/2s". All steps of one name share the
            limit, in all threads, tasks and processes on the state file; a `Rate` is shared by all steps that have it.
            Default: None.
        on_failure: ("raise" or "dead_letter") what a call does when it has failed for good. "raise": it raises the
            function's exception. "dead_letter": it is kept with its input and attempts, to be reviewed and re-driven,
            and the call returns None. `map` has its own option. Default: "raise".

        ensure: (function) takes a result before it is saved. False, or a text that says what is wrong, makes an attempt
            of it that failed with `EnsureFailed`, and is tried again like any other; None is no complaint. It is not
            called when a saved result is given back. Default: None.
        max_repeats: (int, 1 or more) so often at most the step is called with the same inputs in one run. The next such
            call raises `RepeatLimit`, also when the run is resumed. Default: None, no bound.
        input: ("whole" or "digest") what is kept of the arguments once a call is done. "digest": a text of 2,000
            characters, and a digest, so that a changed argument is still noticed. Default: "whole".
        artifact_above: (bytes, 10,000 or more) a result that takes more lies in a file of its own beside the state
            file, which changes nothing for the script. None: none does. Default: PERDURE_ARTIFACT_ABOVE,
            `artifact_above` in pyproject.toml, or 1,000,000.

    Raises:
        OptionError: an option does not exist or is not valid, or `fn` cannot be a step.
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
    name: str,
    *,
    kind: StepKind = "builtin",
    key: Callable[..., Any] | None = None,
    retry: Retry | None = None,
    in_place: bool = False,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a step of perdure's own, under a name that users cannot give: for as long as it takes.

    Args:
        name: what it goes by in the journal.
        kind: that of the records of its calls.
        key: as for `step`.
        retry: when to try again; None: it is tried once.
        in_place: it needs what is no part of its inputs, and what only the process of the workflow has.
    """

    def decorate(fn: Callable[P, R]) -> Step[P, R]:
        spec = _spec(fn, name=name, retry=retry, timeout=None, key=key, kind=kind)
        spec.in_place = in_place
        return Step(spec)

    return decorate


def _load_own_steps() -> None:
    from importlib import import_module

    for module in ("alert", "approvals", "context", "published", "signals"):
        import_module(f"perdure.api.{module}")


own.append(_load_own_steps)


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
    ensure: Callable[[Any], object] | None = None,
    max_repeats: int | None = None,
    input: InputKept = "whole",
    artifact_above: int | _Unset | None = UNSET,
    on_failure: OnFailure = "raise",
    kind: StepKind = "step",
) -> Spec:

    if not callable(fn):
        raise OptionError(
            f"@step is given {fn!r}, which is not a function", "write @step above a def, or step(function, ...)"
        )
    if isinstance(fn, Step):
        raise OptionError(f"{fn!r} is already a step", "decorate the function once")
    if is_generator_function(fn):
        raise OptionError(
            f"step {function_name(fn)!r} is a generator: what it yields cannot be saved as one result",
            "return a list; or make a step of what is done for each element",
        )
    name = function_name(fn) if name is None else name
    if not isinstance(name, str) or not name:
        raise OptionError(f"the name of a step is {name!r}", "give a text that is not empty")
    if kind == "step":
        refuse_reserved("step", name)
    spec = Spec("step", fn, name, retry=policy_of(retry), isolate=isolate, key=key)
    spec.record_kind = kind
    spec.locals = surroundings(fn)
    place(spec)
    spec.failures = functools.partial(rules_of, spec.file)
    spec.on_unlike = say_unlike
    spec.park = checked_on_failure(on_failure) == "dead_letter"
    if undo is not None:
        spec.undo = _undo(spec, undo)
    if breaker is not None or rate is not None:
        from perdure.api.rate import guard_of  # not before a step asks for it

        spec.guard = guard_of(name, breaker, rate)
    spec.ensure = checked_ensure(ensure, spec.owner)
    spec.max_repeats = checked_max_repeats(max_repeats)
    spec.input_kept = checked_input(input)
    above = settings.artifact_above(spec.file) if isinstance(artifact_above, _Unset) else artifact_above
    if above is not None:
        spec.artifact_above = settings.checked_artifact_above(
            above, f"artifact_above of {spec.owner}", "None for never"
        )
    if isinstance(timeout, _Unset):
        spec.timeout, spec.explicit = settings.step_timeout(spec.file)
    elif timeout is not None:
        spec.timeout, spec.explicit = bound(timeout, option="timeout"), True
    if isolate:
        from perdure.engines.processes.isolated_step import check_isolable

        check_isolable(spec)
    return spec


def _undo(spec: Spec, undo: Any) -> Spec:
    if not isinstance(undo, Step):
        raise OptionError(
            f"undo of {spec.owner} is {undo!r}, which is not a step",
            "decorate the function that reverts it with @step, above this one, and give it: undo=that_function",
        )
    if undo._spec.is_async and not spec.is_async:
        raise OptionError(f"undo of {spec.owner} is async, and the step is not", "make both sync, or both async")
    return undo._spec
