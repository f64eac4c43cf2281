"""`@step`: functions whose results are saved."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import (
    TYPE_CHECKING,
    Any,
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
    refuse_reserved,
    unknown_option,
)
from perdure.api.step_call import BoundStep, Step, bare_spec
from perdure.config import settings
from perdure.core.callables import is_generator_function
from perdure.core.durations import Duration, bound
from perdure.core.execution.spec import InputKept, Spec
from perdure.core.policies.retry import Retry
from perdure.engines.interface import OnFailure
from perdure.engines.registry import own
from perdure.errors import OptionError

if TYPE_CHECKING:
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


def _load_own_steps() -> None:
    from importlib import import_module

    modules = (
        "alert",
        "approvals",
        "breaker",
        "context",
        "defer",
        "published",
        "recorded_answers",
        "runs",
        "signals",
    )
    for module in modules:
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
    refuse_reserved("step", name)
    spec = bare_spec(fn, name, retry=retry, isolate=isolate, key=key)
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
