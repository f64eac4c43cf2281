"""What every engine's running workflow does with a call before anything else happens to it."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from sys import exception
from threading import RLock, get_ident, get_native_id
from typing import TYPE_CHECKING, Any, NoReturn, cast

from perdure.core.execution.bound_values import code_of
from perdure.core.execution.branch import Branch
from perdure.core.execution.closures import alike
from perdure.core.execution.effects import Outcome
from perdure.core.execution.history import History
from perdure.core.execution.identity import identify, pack_strictly, refuse_names_only
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.spending import ledgers
from perdure.core.records import Place, Row, StepRecord
from perdure.core.values import codec
from perdure.engines.runtime.thread_branches import ThreadTask, current, visit
from perdure.engines.runtime.threads import in_pool
from perdure.engines.runtime.unsaved import Unawaited
from perdure.engines.runtime.work_under_way import WorkUnderWay
from perdure.errors import Cancelled, DeadlineExceeded, DuplicateStep, PerdureError, StateError, StopRun, UsageError

if TYPE_CHECKING:
    import asyncio
    from weakref import ref

    from perdure.engines.runtime.event_order import EventOrder
    from perdure.engines.runtime.loop_order import LoopOrder
    from perdure.engines.runtime.thread_turns import ThreadTurns


LOOK_SECONDS = 0.005
"""Seconds between two looks at whether the replay has come to rest."""


class BaseScope(ABC):
    """A workflow whose function is executing.

    `takes_threads`: threads that it starts are branches of it. `cancelled_from_outside`: its task may be.

    Args:
        id: the run's id.
        history: its records, and what is claimed of them.
    """

    takes_threads = False
    cancelled_from_outside = False

    def __init__(self, id: str, history: History) -> None:
        self.id = id
        self.history = history
        self.is_async = False
        self.main: Branch | None = None  # of an async workflow, while its function executes
        self.order: EventOrder | None = None  # likewise
        self.family: object = self  # what the scopes of a run and of its child runs have in common
        self.running: set[asyncio.Task[Any]] = set()  # tasks that are in a call of the run
        self.maps: set[asyncio.Task[Any]] = set()  # tasks that are in a map
        self.cut_short: list[int] = []  # calls that were given up while the task of the function was to be cancelled
        self.cut_from: int | None = None  # the number of the first record that was made after such a cancellation
        self.withheld: list[Call] = []  # calls that were given up for one from outside
        self.cancels_itself = False  # a timer of the workflow's own has cancelled the task of the function
        self.own_ctrl_c = False  # Ctrl-C came outside of steps, and the workflow makes a call while it handles that
        self.left: tuple[str, str] | None = None  # what left the step before, which is to be said if the run goes on
        self.groups: list[ref[asyncio.TaskGroup]] = []  # that this task is in
        self.around = exception()  # what is handled where the run is called
        self.settling: list[tuple[Call, Branch | None]] = []  # calls that wait for the replay to come to rest
        self.parked: set[Branch] = set()  # branches that are in durable waits
        self.executing = 0  # steps of async code under way, or waiting for their next attempt
        self.closed = False  # the function is over
        self.left_by: type[BaseException] | None = None  # and was left by one of these
        self.ident = get_ident()  # the thread that executes it
        self.native = get_native_id()
        self.shared = False  # other threads take part, or did, or loops of the program's own
        self.deciding: AbstractContextManager[Any] | None = None  # held while a decision is made, if they do
        self.holds = WorkUnderWay()  # the calls of other threads
        self.turns: ThreadTurns | None = None  # the order in which they see what their calls come to
        self.line: ThreadTask | None = None  # the thread that executes the function, if others take part
        self.thread_numbers: dict[Branch, Iterator[int]] = {}  # how many threads each branch has started
        self.orders: dict[Any, LoopOrder] = {}  # of the event loops that the workflow, or a thread of it, runs itself
        self.loop_numbers: dict[Branch, Iterator[int]] = {}  # how many loops each branch has run
        self.visitors: dict[int, ThreadTask] = {}  # threads that were made elsewhere
        self.unawaited = Unawaited()
        self.alerts: tuple[str, ...] | None = None  # the targets that the workflow names
        self.forked = False  # this process is a copy of the one that executes the run
        self._current: Callable[[], Branch | None] = lambda: None
        self._stopped: StopRun | None = None
        self.places: dict[str, Place] = {}  # by the name of a step: whose function it is
        self.recorded_defaults: dict[str, dict[str, bytes]] = {}  # of steps that earlier lives of the run have called
        self._as_recorded: dict[Spec, Spec] = {}
        self._functions: dict[str, Any] = {}  # the one that was called last under a name
        self._closures: dict[
            str, dict[tuple[Any, ...], Any]
        ] = {}  # by name, and by what is among the inputs of its calls

    def stop(self, stop: StopRun) -> StopRun:
        """The run cannot go on: every further call says so again, if the workflow should swallow the first time."""
        if self._stopped is None:
            self._stopped = stop
            if self.turns is not None:
                from perdure.engines.runtime.left_threads import leave_waiting

                leave_waiting(self)
        return stop

    def stop_for(self, error: StateError | StopRun) -> NoReturn:
        """The run cannot go on because of that.

        Raises:
            StopRun: always.
        """
        if isinstance(error, StateError):
            raise self.stop(StopRun(error)) from error
        raise self.stop(error)

    def check(self) -> None:
        """Refuse to go on with a run that was stopped.

        Raises:
            StopRun: as it was stopped.
        """
        if self._stopped is not None:
            raise self._stopped

    @property
    def stopped(self) -> StopRun | None:
        """What the run was stopped by, if it was."""
        return self._stopped

    @property
    def ending(self) -> PerdureError | None:
        """What the run was stopped for, if that is how it ends: it was cancelled, or its time is over."""
        error = None if self._stopped is None else self._stopped.error
        return error if isinstance(error, Cancelled | DeadlineExceeded) else None

    def bind(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """A call of the step, identified.

        Raises:
            TypeError: the function would not accept these arguments.
            NotStorable: an argument cannot be stored.
            DuplicateStep: another function runs under this name.
        """
        if self._stopped is not None:
            raise self._stopped
        due_to_exit = (handled := exception()) is not None and self.handles(handled)
        if self._functions.get(spec.name) is not spec.fn:
            self.admit(spec)
        if self.recorded_defaults:
            spec = self.as_recorded(spec)
        call = identify(spec, args, kwargs)
        if spec.isolate:
            refuse_names_only(call)
        if due_to_exit:
            call.due_to_exit = True
        if self.own_ctrl_c and handled is None:
            self.own_ctrl_c, self.left = False, ("", "")
        call.ledgers = ledgers.get()
        branch = None if self.main is None else self._current()
        return call if branch is None or not branch.path else branch.place(call)

    def handles(self, error: BaseException | None) -> bool:
        """A call is made while the workflow handles that: is it due to an exit (`Call.due_to_exit`)?"""
        if error is None:
            return False
        from perdure.engines.runtime.cancellation import note_aftermath

        return note_aftermath(self, error)

    def bind_wait(self, spec: Spec, given: bytes, key: bytes) -> Call:
        """A durable wait as a call: its name, key and branch identify it, not what it was given."""
        if self._stopped is not None:
            raise self._stopped
        self.handles(exception())
        branch = self.branch()
        path = b"" if branch is None else branch.path
        return Call(spec, (), {}, given, codec.digest(key + path) if path else key)

    @contextmanager
    def main_branch(self) -> Iterator[None]:
        """The body of an async workflow: the current task is its own branch, the tasks that it starts are others."""
        from perdure.engines.runtime import branches

        with branches.main_branch(self) as main:
            self.main = main
            self._current = branches.current
            yield

    # -- threads ------------------------------------------------------------------------------------------------------

    def share(self) -> None:
        """From here on, several threads take part in the run."""
        if self.deciding is not None:
            return
        self.line = line = ThreadTask(self)
        line.ident, line.native = self.ident, self.native
        if self.main is None:
            line.branch = self.main = Branch(line)
        from perdure.engines.runtime.thread_turns import ThreadTurns

        self.turns = ThreadTurns(self, line)
        self._current = self._branch_here
        self.history.whose = get_ident
        self.history.replays_here = self._replays_here
        self.shared = True
        self.deciding = RLock()

    def _branch_here(self) -> Branch | None:
        task = current(self)
        line = self.main if task is None else task.branch
        if self.keeps_loop():
            from perdure.engines.runtime import branches

            return branches.current_in_loop(line)
        if task is None and get_ident() in self.visitors:
            return self.visitors[get_ident()].branch
        return line

    def keeps_loop(self) -> bool:
        """Does an event loop run on this thread?"""
        # Another thread may be about to import asyncio: its names come one after the other then.
        running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
        return running is not None and running() is not None

    def wake_loop(self) -> None:
        """A thread has made a call, or waits for the others: the loop that executes the workflow may have to go on."""
        here = get_ident()
        if self.order is not None and here != self.ident:
            self.order.poke_from_thread()
        if self.orders:
            for order in list(self.orders.values()):
                if order.ident != here:
                    order.poke_from_thread()

    def order_here(self) -> EventOrder | None:
        """The order of the events in the loop that runs here; None if none does."""
        if self.deciding is None or (self.order is not None and get_ident() == self.ident):
            return self.order
        if not self.orders:
            return None
        return self.orders.get(sys.modules["asyncio"]._get_running_loop())

    def _replays_here(self) -> bool:
        order = self.order_here()
        return order is not None and order is not self.order and order.replays()

    def order_of(self, loop: asyncio.AbstractEventLoop) -> EventOrder | None:
        """The order of the events in that loop; None if it is not one of the workflow."""
        if self.order is not None and self.order.loop is loop:
            return self.order
        return self.orders.get(loop)

    def note_replays(self) -> None:
        """A loop has begun or ended to see again what it saw in an earlier life."""
        orders = [*self.orders.values(), *(() if self.order is None else (self.order,))]
        self.history.replaying = any(order.replays() for order in orders)

    @contextmanager
    def taking_part(self, *, in_task: bool = False) -> Iterator[None]:
        """A call that may come from any thread, at any time; `in_task`: the task that makes it is a branch itself.

        Raises:
            UsageError: the call comes too late, or from a process that was forked.
        """
        self.refuse_if_over()
        task = current(self)
        if task is None and get_ident() != self.ident and not in_pool.handoff:
            task = visit(self)
        task = task or self.line
        counted = not in_task and task is not None and self.deciding is not None
        if counted:
            self._count(task, 1)
        call = object()
        try:
            self.holds.take(call)
            self.refuse_if_over()
            try:
                yield
            finally:
                if counted and self.turns is not None and task is not None:
                    self.turns.come(task)
        finally:
            try:
                self.holds.drop(call)
            finally:
                self.holds.drop(call)  # Ctrl-C may have left that: who is still held is waited for
                if counted:
                    self._count(task, -1)
                self.wake_loop()

    def thread_here(self) -> ThreadTask:
        """The thread or job of the workflow that is executing, or that this one carries a decision of."""
        return current(self) or self.visitors.get(get_ident()) or cast(ThreadTask, self.line)

    def _count(self, task: ThreadTask | None, more: int) -> None:
        assert task is not None
        assert self.deciding is not None
        with self.deciding:
            task.calls += more
            if more > 0:
                task.called += 1

    def refuse_if_over(self) -> None:
        """Nothing more can be saved here.

        Raises:
            UsageError: the workflow's function is over, or this is another process.
        """
        self.refuse_if_forked()
        if self.closed:
            if self.left_by is not None and not issubclass(self.left_by, Exception) and current(self) is not None:
                self.check()
                raise StopRun(  # of a thread that goes on while the run is let go: it ends without a word
                    UsageError(
                        f"a step or workflow was called after run {self.id} was interrupted, so nothing can be saved",
                        "run the script again: the run goes on, and makes that call then",
                    )
                )
            raise UsageError(
                f"a step or workflow was called after the function of run {self.id} had ended, so nothing can be saved",
                "let the workflow wait for its threads and tasks before it returns: join() or result()",
            )

    def refuse_if_forked(self) -> None:
        """Nothing can be saved in a copy of the process.

        Raises:
            UsageError: this is one.
        """
        if self.forked:
            raise UsageError(
                f"a step or workflow was called in a process that was forked from that of run {self.id}: nothing can "
                "be saved there",
                "call it in the process of the workflow: map(..., concurrency=) runs many at a time, and isolate=True "
                "each in a process of its own",
            )

    def branch(self) -> Branch | None:
        """The branch that is asking; None if the workflow is sync, and has but one."""
        return None if self.main is None else self._current()

    def placing(self, bind: Callable[[Any], Call]) -> Callable[[Any], Call]:
        """What binds the items of a batch, such that their calls are those of the branch that is asking."""
        branch = self.branch()
        return bind if branch is None or not branch.path else lambda item: branch.place(bind(item))

    def admit(self, spec: Spec) -> None:
        """Let a step be called under its name: in one run, that name stands for one function.

        Raises:
            DuplicateStep: another function runs under this name.
            NotStorable: nothing distinguishes it from one that is bound to something else.
        """
        spec.refuse_unknown()
        closure = spec.signature.closure
        mark = () if closure is None else closure.mark()
        known = self._closures.setdefault(spec.name, {})
        for other in known.values():
            if code_of(other) != code_of(spec.fn):
                raise DuplicateStep(
                    f"two different functions run as step {spec.name!r}: {_where(other)} and {_where(spec.fn)}",
                    "give one of them another name: @step(name=...)",
                )
            break
        other = known.setdefault(mark, spec.fn)
        if other is not spec.fn and not alike(other, spec.fn):
            raise DuplicateStep(
                f"two functions run as step {spec.name!r} that differ only in what they are bound to or close over, "
                f"which no record distinguishes: {_where(spec.fn)}",
                "give each one a name of its own, @step(name=...), or make what differs a parameter",
            )
        self._functions[spec.name] = spec.fn
        if spec.name not in self.places:
            self.places[spec.name] = spec.place
            self._note_place(spec)
        if spec.undo is not None and self._functions.get(spec.undo.name) is not spec.undo.fn:
            self.admit(spec.undo)

    def as_recorded(self, spec: Spec) -> Spec:
        """A step whose calls are compared by the defaults that it had when the run first called it."""
        recorded = self.recorded_defaults.get(spec.name)
        if recorded is None:
            return spec
        found = self._as_recorded.get(spec)
        if found is None:
            from perdure.core.execution.defaults import as_recorded

            found = self._as_recorded[spec] = as_recorded(spec, recorded)
        return found

    def _note_place(self, spec: Spec) -> None:  # noqa: B027  a cluster sends it with each command
        """Keep whose function a step is, for what calls it again from outside."""

    def defer(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], note: Spec) -> None:
        """Call a step at the end; `note` is the step that writes that down.

        Raises:
            UsageError: the step is async and the workflow is not.
            TypeError: the step would not accept these arguments.
            NotStorable: an argument cannot be stored.
        """
        if spec.is_async and not self.is_async:
            raise UsageError(
                f"{spec.owner} is async, and the workflow that defers it is not", "defer a step that is not async"
            )
        self.admit(spec)
        asked = identify(spec, args, kwargs)
        self.call(note, self.noted(note, asked, (self.noted_module(spec), spec.name, pack_strictly(asked))), {})

    def noted(self, note: Spec, asked: Call, now: tuple[str, str, bytes]) -> tuple[str, str, bytes]:
        """What is noted of a call that is deferred; where an edit has changed how it looks, what was noted before."""
        return now

    def noted_module(self, spec: Spec) -> str:
        """What a note of a clean-up says of the step's module. Whose function it is, `places` says more exactly."""
        return spec.module

    @abstractmethod
    def read(self, seq: int) -> StepRecord:
        """The record of that number."""

    def look_again(self, waited: float) -> float:
        """In how many seconds to look again at a branch that is on its way, after it was waited for so long."""
        return LOOK_SECONDS

    def begin_map(self, spec: Spec, total: int | None, concurrency: int | None) -> int:
        """A map begins: its number in the run; 0 if that is not recorded."""
        return 0

    def end_map(self, number: int) -> None:  # noqa: B027  not every engine has a place for it
        """The map of that number is over."""

    def first_attempt(self, call: Call, park: bool) -> Outcome | Awaitable[Outcome] | None:
        """The first attempt of an item, begun in the current task; None: its decision has to be asked."""
        return None

    def keep_soon(self, rows: Sequence[Row], then: Callable[[BaseException | None], None]) -> None:
        """Save rows, to which more may be added until the turn of the loop ends; `then` is told how that went."""
        raise AssertionError("no attempt is made without a decision")

    def notify_waiting(self, reason: str) -> None:  # noqa: B027  not every engine has a place for it
        """Say that the replay waits for something."""

    @abstractmethod
    def drive_in_task(self, program: Generator[Any, Any, Any], *, in_branch: bool = False) -> Awaitable[Any]:
        """Carry a decision to its end in the current task, which is known to be a branch (`in_branch`), or may be."""

    @abstractmethod
    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step."""


def _where(fn: Any) -> str:
    code = getattr(fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(fn)
