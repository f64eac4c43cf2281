"""Workflows: functions that go on where they stopped."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Never, ParamSpec, TypeVar, cast, overload

from perdure.core.identity import identify
from perdure.core.spec import Spec
from perdure.engines.registry import register
from perdure.engines.scope import Engine, StepContext, here
from perdure.errors import OptionError, UsageError
from perdure.step import Step, function_name, surroundings, unknown_option

if TYPE_CHECKING:
    from perdure.handle import Handle

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")


class Workflow(Generic[P, R]):
    """A function whose steps are remembered.

    Called at the top level: goes on with the unfinished run that has the same arguments, or starts one. Called from
    another
    workflow: a child run, which is remembered as a whole when it has ended.
    """

    def __init__(self, spec: Spec, id: str | None = None) -> None:
        self.spec = spec
        self._id = id
        functools.update_wrapper(self, spec.fn, updated=())
        if spec.is_async and hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it, or go on with it.

        Raises:
            AlreadyRunning: somebody else runs it at this moment.
            Drift: the script was edited so that a completed step would be called with other inputs.
            StateError: the state file cannot be used.
            Exception: whatever the workflow raises.
        """
        scope = here.get()
        if isinstance(scope, StepContext):
            raise UsageError(
                f"{self.spec.owner} was called inside step {scope.call.spec.name!r}, where it could not be resumed",
                "call it from a workflow, or make an ordinary function of it",
            )
        if scope is not None and self._id is None:
            inside = scope.achild if self.spec.is_async else scope.child
            return cast(R, inside(self.spec, args, kwargs))
        call = identify(self.spec, args, kwargs)
        engine = self.engine()
        run = engine.arun if self.spec.is_async else engine.run
        return cast(R, run(call, script=self.spec.file, id=self._id))

    def with_options(self, *, id: str) -> Workflow[P, R]:
        """The same workflow under a name of your own: exactly one run has that id, ever.

        A finished run's result is returned, an unfinished one is resumed.

        Args:
            id: a text that is not empty, for instance "nightly-2026-11-23".

        Raises:
            OptionError: the id is not valid.
        """
        if not isinstance(id, str) or not id or any(not c.isprintable() for c in id):
            raise OptionError(f"the id of a run is {id!r}", "give a printable text that is not empty")
        return Workflow(self.spec, id)

    @overload
    def start(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def start(self: Workflow[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def start(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, or go on with it, in a thread of its own; returns as soon as the run is taken.

        Raises:
            As a call does, except for what the workflow itself raises: that comes from `Handle.result`.
        """
        from perdure.handle import launch

        if here.get() is not None:
            raise UsageError(
                f"{self.spec.owner}: start was called inside a workflow or a step, where nobody would remember it",
                "call the workflow: that makes a child run",
            )
        return launch(self.engine(), identify(self.spec, args, kwargs), self.spec, self._id)

    def engine(self) -> Engine:
        """The engine that runs it, by the settings in force."""
        from perdure.engines.choice import engine_for

        return engine_for(self.spec.file)

    def __repr__(self) -> str:
        return f"<workflow {self.spec.name!r}>"


@overload
def workflow(fn: Callable[P, R], /, *, name: str | None = None, **unknown: Never) -> Workflow[P, R]: ...
@overload
def workflow(
    fn: None = None, /, *, name: str | None = None, **unknown: Never
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...
def workflow(fn: Callable[..., Any] | None = None, /, *, name: str | None = None, **unknown: Any) -> Any:
    """Make a workflow of a function: `@workflow`, or `@workflow(name="nightly")`.

    Args:
        fn: the function, sync or async.
        name: what it goes by in the state file; the function's qualified name by default.

    Raises:
        OptionError: an option is not valid.
    """
    if unknown:
        raise unknown_option("workflow", unknown, ("name",))
    if fn is None:
        return lambda function: workflow(function, name=name)
    if isinstance(fn, Step | Workflow) or not callable(fn):
        raise OptionError(
            f"@workflow was given {fn!r}", "write @workflow above a def, as the only decorator of perdure's"
        )
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise OptionError(f"workflow {function_name(fn)!r} is a generator", "return the result instead")
    if name is not None and (not isinstance(name, str) or not name):
        raise OptionError(f"the name of a workflow is {name!r}", "give a text that is not empty")
    spec = Spec("workflow", fn, name or function_name(fn))
    spec.locals = surroundings(fn)
    register(spec)
    return Workflow(spec)
