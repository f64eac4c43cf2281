"""`@workflow`: functions that go on where they stopped."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

import msgspec

import perdure.api.artifact_codec  # noqa: F401  a step of before may have returned one
from perdure.api.options import (
    checked_alerts,
    checked_fail_on_dead,
    checked_if_locked,
    checked_once,
    checked_park_after,
    checked_workflow_lock,
    function_name,
    refuse_in_child_process,
    refuse_reserved,
    rules_of,
    say_unlike,
    surroundings,
    unknown_option,
)
from perdure.api.pickling import KeptHere
from perdure.api.queue import Queue, checked_queue
from perdure.api.run_options import RunOptions, checked_id, checked_options
from perdure.config.module_names import place
from perdure.config.script_loader import stop_load
from perdure.core.callables import is_generator_function, mark_coroutine_function
from perdure.core.durations import Duration, bound
from perdure.core.execution.identity import identify
from perdure.core.execution.spec import IfLocked, Rules, Spec, spec_of
from perdure.engines.interface import Engine, StepContext, here
from perdure.engines.registry import register
from perdure.errors import OptionError, StateError, UsageError

if TYPE_CHECKING:
    from perdure.api.handle import Handle
    from perdure.core.tick_verdicts import Missed, Overlap

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")


def method_refused(spec: Spec) -> UsageError:
    """The refusal of a workflow that is a method."""
    return UsageError(
        f"{spec.owner} is a method, and a run that is resumed has no instance to call it on",
        "put @staticmethod above @workflow, and give what it needs as arguments; steps may be methods",
    )


class Workflow(KeptHere, Generic[P, R]):
    """A function whose steps are saved; `@workflow` makes it.

    Called outside of workflows, it resumes the unfinished run with the same arguments, or starts one. Called in another
    workflow, it is a child run, which is saved as a whole once it has ended.
    """

    def __init__(self, spec: Spec, options: RunOptions = RunOptions()) -> None:  # noqa: B008  it does not change
        self._spec = spec
        self._options = options
        self._id = options.id
        functools.update_wrapper(self, spec.fn, updated=())
        if spec.is_async:
            mark_coroutine_function(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Resume the unfinished run with these arguments, or start one; returns what the function returns.

        Raises:
            AlreadyRunning: another process executes the run or has its lock, with `if_locked="fail"`.
            Skipped: the same with "skip"; uncaught, it ends the script with exit code 0.
            Drift: a completed step is now called with other inputs.
            HasDeadLetters: the run has dead letters, and `fail_on_dead` says that it fails then.
            NotAwaited: the function has called an async step without `await`.
            DeadlineExceeded: the run took longer than the workflow's `timeout`.
            Cancelled: the run was cancelled.
            StateError: the state file cannot be used.
            EngineError: the cluster cannot be used.
            UsageError: called inside a step.
            Exception: what the function raises.
        """
        self._options.refuse_queueing(self._spec.owner, "called")
        scope = here.get()
        if isinstance(scope, StepContext):
            raise UsageError(
                f"{self._spec.owner} is called inside step {scope.call.spec.name!r}, where it cannot be resumed",
                "call it from a workflow, or make it an ordinary function",
            )
        if scope is not None:
            from perdure.api.child_call import call_in

            return cast(R, call_in(scope, self._spec, self._options, engine_of, args, kwargs))
        stop_load(f"starts {self._spec.owner}")
        if self._id is None:
            refuse_in_child_process(self._spec)
        call = identify(self._spec, args, kwargs)
        engine = engine_of(self._spec)
        run = engine.arun if self._spec.is_async else engine.run
        return cast(R, run(call, script=self._spec.file, id=self._id))

    def __get__(self, instance: object, owner: type) -> Workflow[P, R]:
        """Refuse to be a method: whoever resumes the run has no instance to call it on."""
        if isinstance(instance, type):  # before 3.13 `classmethod` asks in this way
            return cast(Workflow[P, R], MethodType(self, instance))
        if instance is not None and self._spec.qualname == f"{owner.__qualname__}.{self._spec.fn.__name__}":
            raise method_refused(self._spec)
        return self

    def with_options(
        self,
        *,
        id: str | None = None,
        if_locked: IfLocked | None = None,
        queue: str | Queue | None = None,
        priority: int | None = None,
        key: str | None = None,
        dedup: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
    ) -> Workflow[P, R]:
        """The same workflow with other options: `nightly.with_options(id="nightly-2026-11-23")(day)`.

        All but the first two are for `enqueue` and `enqueue_many`.

        Args:
            id: an id of your own for the run. Exactly one run ever has it: if that run has finished, the call returns
                its recorded result; if not, it is resumed; enqueued again, its handle is returned. None: perdure makes
                the id.
            if_locked: "skip", "wait" or "fail", as in `workflow`. None: as the workflow has it.
            queue: the queue, or its name. None: the workflow's own, or else "default".
            priority: 0 comes first, up to 1000. None: 5.
            key: a text; of runs of one key, as many execute at a time as the queue's `per_key` says, and no key is
                served twice before all that wait were served once.
            dedup: a text: while a run of this workflow with it is queued, under way or suspended, enqueuing another
                returns its handle.
            delay: (seconds, timedelta or text such as "10m") the run begins after that at the earliest.
            at: (aware datetime) the run begins then at the earliest.

        Raises:
            OptionError: an option is not valid.
        """
        spec = self._spec
        if if_locked is not None:
            import copy

            spec = copy.copy(spec)
            spec.rules = msgspec.structs.replace(spec.rules, if_locked=checked_if_locked(if_locked))
        given = {"queue": queue, "priority": priority, "key": key, "dedup": dedup, "delay": delay, "at": at}
        if if_locked is None and all(each is None for each in given.values()):
            checked_id(id)
        return Workflow(spec, checked_options(self._options, {"id": id, **given}))

    @overload
    def start(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def start(self: Workflow[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def start(self, *args: Any, **kwargs: Any) -> Any:
        """Resume or start the run beside the caller; returns as soon as the run is registered.

        It goes on in a thread of its own; if the workflow is async and an event loop runs here, in a task of that loop.
        A run that is under way is not started again, whichever process executes it: the handle waits for its end.
        Should that process die, or leave the run, the run goes on here.

        Args:
            args: the positional arguments of the workflow's function.
            kwargs: its keyword arguments.

        Returns:
            A Handle with the `id`, the `status()` and the `result()` of the run.

        Raises:
            UsageError: called inside a workflow or a step.
            AlreadyRunning, Skipped: another run has the workflow's lock.
            OtherInputs, StateError, EngineError: as a call does. What the workflow raises later is raised by
                `Handle.result`.
        """
        from perdure.api.run_start import launch

        self._options.refuse_queueing(self._spec.owner, "started")
        if here.get() is None:
            stop_load(f"starts {self._spec.owner}")
        if here.get() is not None:
            raise UsageError(
                f"{self._spec.owner}: start is called inside a workflow or a step, where the run cannot be resumed",
                "call the workflow: that makes a child run",
            )
        return launch(engine_of(self._spec), identify(self._spec, args, kwargs), self._spec, self._id)

    @overload
    def enqueue(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def enqueue(self: Workflow[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def enqueue(self, *args: Any, **kwargs: Any) -> Any:
        """Put a run into a queue, for a worker to execute (`perdure worker`). Once this returns, it is on the disk.

        From an event loop call `await perdure.aio.enqueue(workflow, ...)`, which does not block it. In a workflow the
        run is one of its own, which goes on whatever becomes of this one, and is enqueued once: its row and the record
        of the call are one transaction. In a step give an id or a dedup key, since a step may be tried again.

        Args:
            args: the positional arguments of the workflow's function.
            kwargs: its keyword arguments.

        Returns:
            A Handle with the `id`, the `status()` and the `result()` of the run.

        Raises:
            NotStorable: an argument cannot be stored; nothing is written.
            OtherInputs: the id stands for a run with other inputs.
            UsageError: the workflow is not defined at the top level of a file, or the engine is a cluster.
            StateError: the state file cannot be used.
        """
        return _enqueueing()(self._spec, self._options, engine_of, args, kwargs)

    @overload
    def enqueue_many(
        self: Workflow[P, Coroutine[Any, Any, T]], rows: Iterable[tuple[Any, ...] | Mapping[str, Any]]
    ) -> list[Handle[T]]: ...
    @overload
    def enqueue_many(self: Workflow[P, T], rows: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[Handle[T]]: ...
    def enqueue_many(self, rows: Iterable[Any]) -> Any:
        """Put many runs into a queue, all or none of them: in one transaction, which costs little more than one run.

        In a workflow each is a step of its own.

        Args:
            rows: the arguments of each run: a tuple, or a dict of them by name.

        Returns:
            A Handle for each.

        Raises:
            OptionError: a row is neither a tuple nor a dict, or an id was given.
            NotStorable, UsageError, StateError: as `enqueue` does.
        """
        from perdure.api.enqueue import enqueue_many

        return enqueue_many(self._spec, self._options, engine_of, rows)

    def __repr__(self) -> str:
        return f"<workflow {self._spec.name!r}>"


@functools.cache
def _enqueueing() -> Callable[..., Any]:
    """Imported once, and not by each call: that costs as much as a small query."""
    from perdure.api.enqueue import enqueue

    return enqueue


def engine_of(spec: Spec) -> Engine:
    """The engine that runs a workflow, by the settings of its script.

    Raises:
        StateError: the state file cannot be used; an alert has been sent.
    """
    from perdure.engines.selection import engine_for

    try:
        return engine_for(spec.file)
    except StateError as error:
        with suppress(OSError):  # no file can be opened, of perdure's neither
            from perdure.alerts.unusable_state import alert_unusable_state

            alert_unusable_state(spec, error)
        raise


class WorkflowOptions(TypedDict, total=False):
    """The options of `@workflow(...)`; see `workflow`."""

    name: str | None
    timeout: Duration | None
    lock: bool | str
    if_locked: IfLocked
    park_after: int | None
    once: bool
    fail_on_dead: bool | int
    alert: str | Sequence[str] | None
    heartbeat: str | None
    stall: Duration | None
    queue: str | Queue | None
    schedule: str | None
    tz: str | None
    overlap: Overlap
    missed: Missed
    within: Duration
    spread: Duration | None


KNOWN = tuple(WorkflowOptions.__annotations__)


@overload
def workflow(fn: Callable[P, R], /, **options: Unpack[WorkflowOptions]) -> Workflow[P, R]: ...
@overload
def workflow(fn: None = None, /, **options: Unpack[WorkflowOptions]) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...
def workflow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a workflow of a function: `@workflow`, or `@workflow(timeout="2h", lock=True)`.

    A call resumes the unfinished run with the same arguments, or starts one. The function runs again from its top, and
    each completed step returns its saved result.

    Args:
        fn: the function, sync or async.
        name: (str) the name in the state file. Default: the function's qualified name.
        timeout: (seconds, timedelta or text such as "2h"; or None) the longest that a run may take, from its start to
            its end, with waits, retries, and the time between the deaths of its processes. A run that has failed has
            as much time once more when it is gone on with. A child run is also bound by its parent's timeout.
            Default: None, no bound.
        lock: (bool or str) True: no two processes execute this workflow at the same time, whatever its inputs. A text:
            nor any other workflow with a lock of that name. Two processes never execute the same run, with or without
            it. Default: False.
        if_locked: ("skip", "wait" or "fail") what a call does if another process executes the run or holds the lock.
            "skip": end the script with exit code 0 and a line that names the holder. "wait": until it is free.
            "fail": raise AlreadyRunning. Default: "skip".
        park_after: (int or None) a run that has failed this many times becomes a dead letter: `perdure dlq` re-drives
            it, and a call with the same inputs starts a new run. Default: None, it can be resumed without limit.
        once: (bool) True: the same inputs are run to their end once, ever; called again, the recorded result is
            returned and nothing is executed. A run that failed or was interrupted is resumed, and one that was
            cancelled starts anew. Default: False, a call after a run that is done starts another.
        fail_on_dead: (bool or int) True: a run that would end with dead letters, its own or those of its child runs,
            fails with HasDeadLetters instead. A number: with so many or more. Re-driven, it can be gone on with.
            Default: False, it is done, and a line on standard error says how many there are.
        alert: (str, or list of str) where to send alerts about runs that end abnormally: "tgram://TOKEN/CHAT",
            "https://..." (a webhook), "exec:/path"; see docs/alerts.md. An empty list: nowhere. Default:
            PERDURE_ALERTS, `alerts` in pyproject.toml, or ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID.
        heartbeat: (str) the URL of a check that expects a ping from each run, such as healthchecks.io has. Default:
            PERDURE_HEARTBEAT, or `heartbeat` in pyproject.toml.
        stall: (seconds, timedelta or text such as "30m"; or None) a run in which no step completes for this long hangs,
            and an alert is sent. Default: None, only `timeout` finds a hang.
        queue: (Queue, or str) the queue that enqueued and scheduled runs stand in. Default: None, the queue "default".
        schedule: (str) when a worker runs it by itself: "0 3 * * *" (cron), "0 0 3 * * *" (six fields: seconds first),
            or "every 15m". Its runs are called NAME@2026-11-29T03:00+01:00. Default: None, when it is called.
        tz: (str) the name of the time zone of the schedule. Default: that of the machine of the worker.
        overlap: ("skip", "queue", "allow" or "cancel") what becomes of a tick while the run before has not ended.
            "skip": it has no run. "queue": one waits. "allow": it begins. "cancel": the run before is cancelled.
            Default: "skip".
        missed: ("skip", "one" or "all") what becomes of ticks that were due while no worker served. "one": one run of
            the latest stands for all; "all": each has its run, one after the other. Default: "one".
        within: (seconds, timedelta or text) how old a missed tick may be. Default: "1d".
        spread: (seconds, timedelta or text; or None) schedules of one time begin spread over so long, each always at
            the same distance, which follows from its name. Default: None.

    Raises:
        OptionError: an option does not exist or is not valid, or `fn` cannot be a workflow.
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
    once: bool = False,
    fail_on_dead: bool | int = False,
    alert: str | Sequence[str] | None = None,
    heartbeat: str | None = None,
    stall: Duration | None = None,
    queue: str | Queue | None = None,
    schedule: str | None = None,
    **timing: Any,
) -> Spec:

    if spec_of(fn) is not None or not callable(fn):
        raise OptionError(f"@workflow is given {fn!r}", "write @workflow above a def, as the only decorator of perdure")
    if is_generator_function(fn):
        raise OptionError(f"workflow {function_name(fn)!r} is a generator", "return the result instead")
    if name is not None and (not isinstance(name, str) or not name):
        raise OptionError(f"the name of a workflow is {name!r}", "give a text that is not empty")
    name = name or function_name(fn)
    refuse_reserved("workflow", name)
    spec = Spec("workflow", fn, name)
    spec.locals = surroundings(fn)
    place(spec)
    spec.failures = functools.partial(rules_of, spec.file)
    spec.on_unlike = say_unlike
    spec.rules = Rules(
        timeout=None if timeout is None else bound(timeout, option="timeout"),
        lock=checked_workflow_lock(lock),
        if_locked=checked_if_locked(if_locked),
        park_after=checked_park_after(park_after),
        once=checked_once(once),
        fail_on_dead=checked_fail_on_dead(fail_on_dead),
        alerts=checked_alerts(alert),
        heartbeat=heartbeat,
        stall=None if stall is None else bound(stall, option="stall"),
        queue=None if queue is None else checked_queue(queue),
    )
    if schedule is not None:
        from perdure.api.schedule_options import declared

        spec.schedules.append(declared(spec, name, schedule, queue=spec.rules.queue, **timing))
    elif timing:
        raise OptionError(
            f"{spec.owner} is given {next(iter(timing))}= without schedule=", 'add one, such as schedule="0 3 * * *"'
        )
    register(spec)
    return spec
