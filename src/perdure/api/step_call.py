"""What `@step` makes of a function, and what a call of that does: the saved result in a workflow, else a plain call."""

from __future__ import annotations

import functools
import types
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from perdure.api.options import is_made_in_function, refuse_in_child_process, rules_of, say_unlike, surroundings
from perdure.api.pickling import KeptHere
from perdure.config.module_names import place
from perdure.config.script_loader import stop_load
from perdure.core.callables import mark_coroutine_function
from perdure.core.execution.bound_values import unknown_of
from perdure.core.execution.spec import Spec
from perdure.core.policies.retry import Retry, policy_of
from perdure.engines.interface import Concurrency, OnFailure, Scope, StepContext, here, under_way
from perdure.engines.registry import register
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.api.batch import Batch

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
S = TypeVar("S")


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
        spec, given = self._spec, (*self._first, *args) if self._first else args
        if spec.in_class and not spec.is_method and given:
            spec.find_receiver(given[0])
        scope: Any = here.get()
        result: R_co
        if scope is None or type(scope) is StepContext or spec.is_async:
            result = _call_elsewhere(spec, scope, given, kwargs)
        else:
            result = scope.call(spec, given, kwargs)
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


def _call_elsewhere(spec: Spec, scope: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call outside of a workflow or in another step, or that of an async step."""
    if scope is None or type(scope) is StepContext:
        if scope is None:
            stop_load(f"calls {spec.owner}")
            refuse_in_child_process(spec)
            if under_way and spec.record_kind == "step":
                _unsaved().stray(spec)
        elif spec.record_kind == "step":
            _unsaved().nested(spec, scope)
        return spec.fn(*args, **kwargs)
    running: Scope = scope
    return running.unawaited.watch(spec.owner, lambda: running.acall(spec, args, kwargs), 2)


def _unsaved() -> Any:
    from perdure.engines.runtime import unsaved

    return unsaved


def bare_spec(
    fn: Callable[..., Any],
    name: str,
    *,
    retry: Retry | None,
    isolate: bool = False,
    key: Callable[..., Any] | None = None,
) -> Spec:
    """A step with the options that all of them have."""
    spec = Spec("step", fn, name, retry=policy_of(retry), isolate=isolate, key=key)
    spec.locals = surroundings(fn)
    if key is None and type(fn) is not types.FunctionType and is_made_in_function():
        spec.unknown = unknown_of(fn)
    place(spec)
    spec.failures = functools.partial(rules_of, spec.file)
    spec.on_unlike = say_unlike
    return spec
