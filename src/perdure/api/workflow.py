"""Workflows: functions that go on where they stopped."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

import msgspec

from perdure.api.step import Duration, Step, function_name, surroundings, unknown_option
from perdure.core.durations import bound
from perdure.core.execution.identity import identify
from perdure.core.execution.spec import IfLocked, Rules, Spec
from perdure.engines.interface import Engine, StepContext, here
from perdure.engines.registry import register
from perdure.errors import OptionError, StateError, UsageError

if TYPE_CHECKING:
    from perdure.api.handle import Handle

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

    def with_options(self, *, id: str | None = None, if_locked: IfLocked | None = None) -> Workflow[P, R]:
        """The same workflow, for a call that wants it otherwise.

        Args:
            id: a name of your own for the run, for instance "nightly-2026-11-23": exactly one run has that id, ever. A
                finished run's result is returned, an unfinished one is resumed.
            if_locked: as in `workflow`: "skip", "wait" or "fail".

        Raises:
            OptionError: an option is not valid.
        """
        spec = self.spec
        if if_locked is not None:
            spec = copy.copy(spec)
            spec.rules = msgspec.structs.replace(spec.rules, if_locked=checked_if_locked(if_locked))
        if id is None and if_locked is not None:
            return Workflow(spec, self._id)
        if not isinstance(id, str) or not id or any(not c.isprintable() for c in id):
            raise OptionError(f"the id of a run is {id!r}", "give a printable text that is not empty")
        return Workflow(spec, id)

    @overload
    def start(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def start(self: Workflow[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def start(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, or go on with it, in a thread of its own; returns as soon as the run is taken.

        Raises:
            As a call does, except for what the workflow itself raises: that comes from `Handle.result`.
        """
        from perdure.api.handle import launch

        if here.get() is not None:
            raise UsageError(
                f"{self.spec.owner}: start was called inside a workflow or a step, where nobody would remember it",
                "call the workflow: that makes a child run",
            )
        return launch(self.engine(), identify(self.spec, args, kwargs), self.spec, self._id)

    def engine(self) -> Engine:
        """The engine that runs it, by the settings in force."""
        from perdure.engines.selection import engine_for

        try:
            return engine_for(self.spec.file)
        except StateError as error:
            from perdure.alerts.unusable_state import alert_unusable_state

            alert_unusable_state(self.spec, error)
            raise

    def __repr__(self) -> str:
        return f"<workflow {self.spec.name!r}>"


class WorkflowOptions(TypedDict, total=False):
    """What `@workflow(...)` takes by keyword; see `workflow`."""

    name: str | None
    timeout: Duration | None
    lock: bool | str
    if_locked: IfLocked
    park_after: int | None
    alert: str | Sequence[str] | None
    heartbeat: str | None
    stall: Duration | None


KNOWN = tuple(WorkflowOptions.__annotations__)


@overload
def workflow(fn: Callable[P, R], /, **options: Unpack[WorkflowOptions]) -> Workflow[P, R]: ...
@overload
def workflow(fn: None = None, /, **options: Unpack[WorkflowOptions]) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...
def workflow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a workflow of a function: `@workflow`, or `@workflow(timeout="2h", lock=True)`.

    Args:
        fn: the function, sync or async.
        name: what it goes by in the state file; the function's qualified name by default.
        timeout: how long a run may take from its start or resumption to its end, waits and retries included: seconds,
            a timedelta or "2h"; None for no bound. A child run is also bound by its parent's.
        lock: True: no other process runs this workflow at the same time, whatever its inputs. A text: nor any other
            workflow that names the same lock. (Two processes never execute the same run, with or without it.)
        if_locked: what a call does if another process has the run or the lock: "skip" (end the script with exit code 0
            and a line that says who has it), "wait" (until it is free) or "fail" (raise AlreadyRunning).
        park_after: a run that has failed so often is set aside as a dead letter: `perdure dlq` re-drives it, and a call
            with the same inputs starts a new run. None: it can be resumed for ever.
        alert: whom to tell when a run ends abnormally: an address such as "tgram://TOKEN/CHAT", "https://..." (a
            webhook), "exec:/path", or several; see docs/alerts.md. By default PERDURE_ALERTS, `alerts` in
            pyproject.toml, or ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID; an empty list: nobody.
        heartbeat: the address of a check that expects to hear from each run, as healthchecks.io has them; by default
            `heartbeat` in pyproject.toml, or PERDURE_HEARTBEAT.
        stall: a run in which no step has finished for so long counts as hanging, and somebody is told. None: only
            `timeout` says when.

    Raises:
        OptionError: an option is not valid.
    """
    for name in options:
        if name not in KNOWN:
            raise unknown_option("workflow", name, KNOWN)
    if fn is None:
        return lambda function: workflow(function, **options)
    return Workflow(_spec(fn, **options))


def _spec(
    fn: Callable[..., Any],
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    lock: bool | str = False,
    if_locked: IfLocked = "skip",
    park_after: int | None = None,
    alert: str | Sequence[str] | None = None,
    heartbeat: str | None = None,
    stall: Duration | None = None,
) -> Spec:
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
    spec.rules = Rules(
        timeout=None if timeout is None else bound(timeout, option="timeout"),
        lock=_lock(lock, spec),
        if_locked=checked_if_locked(if_locked),
        park_after=_times(park_after),
        alerts=_alerts(alert),
        heartbeat=heartbeat,
        stall=None if stall is None else bound(stall, option="stall"),
    )
    register(spec)
    return spec


def _alerts(value: str | Sequence[str] | None) -> tuple[str, ...] | None:
    named = [value] if isinstance(value, str) else value
    if named is not None and not all(isinstance(each, str) for each in named):
        raise OptionError("alert is neither an address nor a list of them", 'for instance alert="tgram://TOKEN/CHAT"')
    if named:
        from perdure.alerts.channels import target_address

        target_address.parse(named)  # a slip in an address should not come to light when it is needed
    return None if named is None else tuple(named)


def _lock(value: bool | str, spec: Spec) -> str | None:
    if isinstance(value, bool):
        return f"{spec.main}:{spec.name}" if value else None
    return checked_lock(value, "give True, or the name of a lock that several workflows share")


def checked_lock(name: Any, hint: str = "give a printable text that is not empty") -> str:
    """The name of a lock, looked at.

    Raises:
        OptionError: it is none.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise OptionError(f"lock is {name!r}", hint)
    return name


def checked_if_locked(value: Any) -> IfLocked:
    """The option `if_locked`, looked at.

    Raises:
        OptionError: it is none of the three.
    """
    if value not in ("skip", "wait", "fail"):
        raise OptionError(f"if_locked is {value!r}", 'it is "skip", "wait" or "fail"')
    checked: IfLocked = value
    return checked


def _times(value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise OptionError(f"park_after is {value!r}", "give a whole number of failures of at least 1, or None")
    return value
