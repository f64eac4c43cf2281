"""What user code runs inside of: an engine's scope, or one attempt of a step."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from perdure.core.execution.idempotency import idempotency_key
from perdure.core.records import AttemptRecord, RunRecord, RunStatus, StepRecord
from perdure.errors import UsageError

if TYPE_CHECKING:
    import threading
    from concurrent.futures import Future
    from pathlib import Path

    from perdure.core.declared_schedule import DeclaredSchedule
    from perdure.core.exceptions.program_faults import Suspicion
    from perdure.core.execution.map_items import MapOptions, Tally
    from perdure.core.execution.spec import Call, Spec
    from perdure.core.execution.spending import Bounds
    from perdure.core.tick_verdicts import RunTick
    from perdure.engines.events import Observer
    from perdure.engines.features import Capabilities
    from perdure.store.runs import Store

OnFailure = Literal["dead_letter", "raise"]
Concurrency = int | Literal["auto"]
Began = Callable[[str], None]
"""Called with the id of a run as soon as it is taken."""


class StepContext:
    """One attempt of a step, as its own code sees it."""

    __slots__ = ("attempt", "call", "lines", "ordered_tick", "orderer", "program", "run_id", "scope", "slot")

    def __init__(self, run_id: str, call: Call, attempt: int, scope: Scope | None) -> None:
        self.run_id = run_id
        self.call = call
        self.attempt = attempt
        self.scope = scope
        self.lines: Any = None  # what it has logged and printed, if it has
        self.slot: int | None = None  # its place in the flight recorder
        self.program: Suspicion | None = None  # at fault, as the process of its own says in which it has failed
        self.ordered_tick: RunTick | None = None  # in a process of its own: that of its run
        self.orderer: Any = None  # in a process of its own: the way back to the one that has ordered it

    def idempotency_key(self) -> str:
        """The same for every attempt of this call, in this process or another; different for every other call."""
        call = self.call
        call.keyed = True
        return idempotency_key(self.run_id, call.spec.name, call.key + call.salt, call.n)

    def tick(self) -> RunTick | None:
        """The tick that the run was made for; None: none."""
        return self.ordered_tick if self.scope is None else self.scope.tick()


Given = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call: those by position, and those by name."""


class Enqueued(msgspec.Struct, frozen=True):
    """How a run is to stand in a queue.

    Attributes:
        id: its id; None: the engine makes one.
        queue: the name of the queue.
        priority: 0 comes first.
        key: of which only so many run at a time.
        dedup: while a run of the workflow with this key is unfinished, that one will do.
        delay: seconds after which it may begin.
        at: the same as seconds since the epoch.
    """

    id: str | None
    queue: str
    priority: int
    key: str | None = None
    dedup: str | None = None
    delay: float | None = None
    at: float | None = None

    def wake(self, now: float) -> float | None:
        """Before when the run does not begin."""
        return self.at if self.delay is None else now + self.delay


class Unawaited(Protocol):
    """Coroutines that a workflow was given and may forget to await."""

    def watch(self, owner: str, begin: Callable[[], Awaitable[Any]], depth: int) -> Coroutine[Any, Any, Any]:
        """A call, as the coroutine that the workflow is given."""


class Scope(Protocol):
    """A running workflow, as its steps and child workflows see it.

    `forked`: this process is a copy of the one that executes it; `shared`: calls look at that, and at who makes them.
    `alerts`: addresses of the targets that the workflow names; None: those of the settings. `calls_by_id`: it executes
    the runs that it calls under an id; else they are enqueued, and their results waited for.
    """

    calls_by_id: bool
    id: str
    forked: bool
    shared: bool
    alerts: tuple[str, ...] | None

    @property
    def state_file(self) -> Path | None:
        """The state file that the run is in; None for a cluster."""

    @property
    def unawaited(self) -> Unawaited:
        """The calls that the workflow has made and that have not begun."""

    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step: returns its value or raises what it raised."""

    def admit(self, spec: Spec) -> None:
        """Let a step be called under its name: in one run, that name stands for one function."""

    def as_recorded(self, spec: Spec) -> Spec:
        """A step whose calls are compared by the defaults that it had when the run first called it."""

    def acall(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """Call an async step."""

    def child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None = None) -> Any:
        """Call a sync workflow as a child, or as a run of its own that has that id."""

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None = None) -> Any:
        """Call an async workflow as a child, or as a run of its own that has that id."""

    def enqueue(self, spec: Spec, given: Sequence[Given], how: Enqueued) -> list[str]:
        """Put runs of another workflow into a queue, each once in the lives of this run; returns their ids."""

    async def aenqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        """The same for one, without blocking the event loop."""

    def batch(self, calls: Iterator[Call], spec: Spec, options: MapOptions) -> Tally:
        """Run a sync step over many calls."""

    async def abatch(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        bind: Callable[[Any], Call],
        spec: Spec,
        options: MapOptions,
    ) -> Tally:
        """Run an async step over many items."""

    def defer(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], note: Spec) -> None:
        """Call a step at the end; `note` is the step that writes that down."""

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Report how far a step has come."""

    def tick(self) -> RunTick | None:
        """The tick that the run, or the one that it is a child of, was made for; None: none."""

    def reader(self) -> Reader:
        """Access to the records of this run."""


class Reader(Protocol):
    """Access to the records of one run, also after it has ended."""

    def record(self, seq: int) -> StepRecord:
        """The record of that number."""

    def attempts(self, record: StepRecord) -> Sequence[AttemptRecord]:
        """The failed attempts of that record's call."""

    def letter(self, seq: int) -> int | None:
        """The number of the dead letter that is about that record, where letters have numbers."""


class Cancellation(msgspec.Struct, frozen=True):
    """What came of a request to cancel a run.

    Attributes:
        was: how the run stood before.
        outcome: "none" if it had ended already; "requested" if what executes it ends it at its next safe point;
            "ended" if no process executed it, so that it has been ended.
        pid: the process that ends it, where that is known.
        missed: what could not be cleaned up, a line each.
    """

    was: RunStatus
    outcome: Literal["none", "requested", "ended"]
    pid: int | None = None
    missed: list[str] = []


class Engine(Protocol):
    """Runs workflows, and answers for their runs from the outside."""

    observer: Observer | None
    """Is notified of what happens to the runs of this process, if there is one."""

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do: ask this before anything that not every engine can do."""

    @property
    def state_file(self) -> Path | None:
        """The state file of its runs; None for a cluster."""

    def run(
        self,
        call: Call,
        *,
        script: str,
        id: str | None = None,
        resume: str | None = None,
        began: Began | None = None,
        attach: bool = False,
    ) -> Any:
        """Run a sync workflow to its end: start it, resume it, or return the result that its id already has.

        Args:
            call: the workflow's function and arguments.
            script: the path of the script that it is in.
            id: exactly one run under this id, ever.
            resume: the id of a run to go on with, whatever its inputs.
            began: is given the id of the run as soon as it is known.
            attach: if the run is under way, raise UnderWay instead of an error of the user's.

        Raises:
            UnderWay: with `attach`; `ending` waits for its end.
            OptionError: the workflow asks for a feature that the engine lacks.
            OtherInputs: the id stands for a run with other inputs.
            Drift: the script was edited so that it does not fit what the run has done.
            Exception: whatever the workflow raises.
        """

    async def arun(
        self,
        call: Call,
        *,
        script: str,
        id: str | None = None,
        resume: str | None = None,
        began: Began | None = None,
        attach: bool = False,
    ) -> Any:
        """Run an async workflow to its end, as `run` does."""

    def begin_in_loop(
        self, call: Call, *, script: str, id: str | None, began: Began
    ) -> Coroutine[Any, Any, Any] | None:
        """Begin an async run before this returns; the coroutine carries it on, in the caller's event loop.

        None: the engine executes its runs elsewhere, and `arun` is to be called in a thread.

        Raises:
            UnderWay: the run is under way.
        """

    def enqueue(self, calls: Sequence[Call], how: Enqueued) -> list[str]:
        """Put runs of one workflow into a queue, all or none of them; returns their ids when they are on the disk.

        Raises:
            OtherInputs: the id stands for a run with other inputs.
            UsageError: the engine has no queues.
        """

    def status(self, id: str) -> RunStatus:
        """How a run stands.

        Raises:
            NotFound: there is no such run.
        """

    def ending(self, id: str, *, or_left: bool = False) -> Future[RunRecord]:
        """The end of a run, whichever process executes it.

        Args:
            id: the run.
            or_left: done as soon as no process executes it, too: its status is "running" then.

        Raises:
            UsageError: the engine cannot wait for a run that it has not begun.
        """

    def records(self, reference: str | None = None, most: int | None = None) -> AbstractContextManager[Store]:
        """The records of runs, for looking only.

        Args:
            reference: which run is looked for: its id, the beginning of it, or "last". All about the runs that may be
                meant is there.
            most: without a reference: so many of the newest runs are there in full; None for all of them.
        """

    def declare_schedule(self, spec: Spec, given: DeclaredSchedule) -> None:
        """Write down a schedule of a workflow.

        Raises:
            OptionError: no worker can load the workflow, or its time zone is not known here.
            UsageError: the engine has no schedules.
        """

    def cancel(self, id: str, load: Callable[[RunRecord], str | None]) -> Cancellation:
        """Ask a run to end at its next safe point; one that no process executes is ended here, with its clean-ups.

        Args:
            id: the run.
            load: loads the script of a run, and returns its path if that is not the run's; called if the clean-ups are
                made here.

        Raises:
            NotFound: there is no such run.
            UsageError: it is a child run.
        """

    def accept_changes(self, run: RunRecord) -> None:
        """When that run is gone on with next, its records are not held against the edited script.

        Nothing happens if a process executes it at this moment.
        """

    def raise_bounds(self, run: RunRecord, bounds: Bounds) -> None:
        """The budgets of that run may spend so much from now on, where that is more than they say.

        Raises:
            UsageError: the engine has no budgets.
        """

    def raised_any(self, run: RunRecord) -> bool | None:
        """Was a bound higher that way when this process executed that run? None if another one executes it."""

    def stay(self) -> None:
        """From now on, a run that only waits is not left: this process stays until it is done."""


class ReplayCheck(msgspec.Struct, frozen=True):
    """Whether a run that is under way fits the scripts as they are now; if not, `where` says at which step."""

    run: str
    workflow: str
    fits: bool
    where: str


class WorkerEngine(Engine, Protocol):
    """An engine whose workers execute what other processes start (Feature.WORKERS)."""

    def serve(self, modules: Iterable[str], until: threading.Event, grace: float) -> None:
        """Execute steps and workflows until the event is set.

        Args:
            modules: the stems of the scripts, which this process has loaded.
            until: set when the worker is to end.
            grace: seconds that steps in flight have to end then.
        """

    def check_connection(self) -> None:
        """Return if the cluster answers, and lets this process look at its runs.

        Raises:
            EngineError: it does not.
            OptionError: a certificate or a key cannot be read.
        """

    def replay_check(self, modules: Iterable[str]) -> Sequence[ReplayCheck]:
        """Which runs under way fit the scripts of these stems, as this process has loaded them now.

        The runs that do not fit come first. No step is executed.
        """


def refuse_child(id: str, parent: str | int | None) -> None:
    """Only a run that stands for itself is gone on with or ended: a child run goes with its parent.

    Args:
        id: the run.
        parent: its parent's id or number; None if it stands for itself.

    Raises:
        UsageError: it is a child run.
    """
    if parent is not None:
        name = f"name {parent}" if isinstance(parent, str) else "name the run that it belongs to"
        raise UsageError(f"run {id} is a child run, which goes on or ends when its parent does", name)


under_way: dict[int, Scope] = {}
"""The workflows whose functions execute in this process."""

here: ContextVar[Scope | StepContext | None] = ContextVar("perdure", default=None)


def script_around(context: Scope | StepContext | None) -> str:
    """The file of the program, whose settings hold; for what perdure itself starts (a worker, say) that of the step."""
    main = sys.modules.get("__main__")
    module = getattr(getattr(main, "__spec__", None), "name", None) or ""
    if module.partition(".")[0] != "perdure":
        return getattr(main, "__file__", None) or ""
    return context.call.spec.file if isinstance(context, StepContext) else ""
