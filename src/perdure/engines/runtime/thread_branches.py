"""The threads of the program's own that a workflow starts: each is a branch of its run.

The standard library does not hand a context on to threads (only Python 3.14's free-threaded builds do). So `start` of a
thread and `submit` of a thread pool are wrapped, once, when the first run begins. The wrappers act on what is called
from a workflow's function, or from a branch of one, and hand everything else through. What is started inside a step
stays outside of the run, as a step called in a step is a plain call.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from sys import exception
from typing import Any, Protocol

from perdure.core.execution.branch import Branch
from perdure.core.execution.spending import ledgers
from perdure.engines.interface import StepContext, here
from perdure.errors import StopRun

OURS = "perdure"
"""The names of perdure's own threads begin like this; they carry decisions of branches, and are none."""


class ThreadScope(Protocol):
    """The run that a thread is a branch of."""

    takes_threads: bool
    closed: bool
    thread_numbers: dict[Branch, Iterator[int]]
    turns: Any

    def share(self) -> None:
        """From here on, several threads take part in the run."""

    def branch(self) -> Branch | None:
        """The branch that is asking."""

    def enter_loop(self, loop: Any) -> None:
        """The workflow, or a thread of it, runs an event loop from here on."""

    def leave_loop(self, loop: Any) -> None:
        """It does not any more."""


class ThreadTask:
    """What carries a branch: a thread, or one job of a thread pool.

    `ident` is the thread that executes it, None before, and `native` the number that the system has given that; `calls`
    how many calls of the run it is inside of, and `called` how many it has made. Of the call that it is in: `place` is
    the number of its record as soon as that is known, `blocked` is not 0 while it executes or waits for others, `turns`
    while it waits for its turn, `maps` while it is a map, `drawing` while that asks the workflow for an item
    (`thread_turns`). `thread` is what was started, if it is no job.

    Args:
        scope: the run.
        pool: where it waits for a free thread, if it is a job.
        visiting: a thread made elsewhere, which takes part only while it is in a call of the run.
    """

    __slots__ = (
        *("blocked", "branch", "called", "calls", "drawing", "ended", "future", "ident", "maps", "native", "place"),
        *("budgets", "pool", "scope", "thread", "turns", "visiting"),
    )

    def __init__(self, scope: Any, *, pool: Any = None, visiting: bool = False) -> None:
        self.scope = scope
        self.visiting = visiting
        self.ident: int | None = None
        self.native: int | None = None
        self.pool = pool
        self.calls = 0
        self.called = 0
        self.blocked = 0
        self.place = 0
        self.turns = 0
        self.maps = 0
        self.drawing = False
        self.thread: threading.Thread | None = None
        self.ended = False
        self.future: Any = None
        self.budgets = ledgers.get()  # that it is started in: a thread has no context of who starts it
        self.branch: Branch

    def done(self) -> bool:
        """Has it ended, or will it never begin?"""
        if self.visiting:
            return not self.calls
        return self.ended or (self.future is not None and self.future.cancelled())

    def carry(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call the function, as this branch."""
        self.ident, self.native = threading.get_ident(), threading.get_native_id()
        turns = self.scope.turns
        if turns is not None and self.pool is not None:
            turns.job_begins(self)
        before, _thread.task = _thread.task, self
        token, around = here.set(self.scope), ledgers.set(self.budgets)
        try:
            return function(*args, **kwargs)
        finally:
            ledgers.reset(around)
            here.reset(token)
            _thread.task = before
            self.ended = True
            if turns is not None:
                turns.job_ends(self)


class _Current(threading.local):
    task: ThreadTask | None = None


_thread = _Current()
_carried: ContextVar[ThreadTask | None] = ContextVar("perdure_thread", default=None)
"""The same in a pool thread of perdure's own, which carries a decision of that branch."""

_creating = threading.Lock()


def current(scope: object) -> ThreadTask | None:
    """The thread or job of that run which is executing; None if it is the workflow's own line."""
    task = _thread.task or _carried.get()
    return task if task is not None and task.scope is scope else None


def visit(scope: Any) -> ThreadTask:
    """This thread was made elsewhere, and has a copied context: from now on it is a branch of the run."""
    ident = threading.get_ident()
    task: ThreadTask | None = scope.visitors.get(ident)
    if task is None:
        task = scope.visitors[ident] = branch_off(scope, visiting=True)
        task.ident, task.native = ident, threading.get_native_id()
    return task


def hand_on(context: Context) -> Context:
    """Let what runs in the context, on a thread of perdure's own, count as the branch that is executing now."""
    task = _thread.task
    if task is not None:
        context.run(_carried.set, task)
    return context


def branch_off(scope: Any, *, pool: Any = None, visiting: bool = False) -> ThreadTask:
    """A new branch, numbered by the order in which its parent starts threads.

    Threads are counted apart from tasks: the event loop submits jobs of its own (to resolve a name, say), and how
    many depends on what it has cached.
    """
    scope.share()
    due_to_exit = scope.handles(exception())  # its calls are made meanwhile, and do not see it
    task = ThreadTask(scope, pool=pool, visiting=visiting)
    parent: Branch = scope.main if visiting else scope.branch() or scope.main
    with _creating:
        children = parent.children
        task.branch = Branch(task, parent)
        task.branch.due_to_exit = task.branch.due_to_exit or due_to_exit
        parent.children = children
        number = next(scope.thread_numbers.setdefault(parent, itertools.count()))
        task.branch.path = b"%b.t%d" % (parent.path, number)
    if scope.turns is not None:
        scope.turns.add(task)
    return task


def _scope_here() -> Any:
    scope = here.get()
    return scope if scope is not None and getattr(scope, "takes_threads", False) else None


# -- the wrappers -------------------------------------------------------------------------------------------------


def install() -> None:
    """Wrap what starts threads, as far as it is loaded; what is loaded later is wrapped when it starts its first."""
    for module in tuple(_unwrapped):
        # A module that another thread loads at this moment does not have its class yet: it is wrapped the next time.
        if module in sys.modules and (found := getattr(sys.modules[module], _unwrapped[module][0], None)) is not None:
            _, method, wrap = _unwrapped.pop(module, (None, "", None))  # or another thread has done so
            if wrap is not None:
                setattr(found, method, wrap(getattr(found, method)))


def install_for_loops() -> None:
    """Also wrap the pool of an event loop, which asyncio loads only after the first job was given to it."""
    import concurrent.futures.thread  # noqa: F401

    install()


def _starting(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start(self: threading.Thread) -> None:
        context = here.get()
        if context is None or self.name.startswith(OURS):
            return original(self)
        if isinstance(context, StepContext):
            vars(self)["perdure_step"] = True
            return original(self)
        scope = _scope_here()
        if scope is None or scope.closed or "run" in vars(self):
            return original(self)
        install()
        run = self.run
        task = branch_off(scope)
        task.thread = self

        def carried() -> None:
            del vars(self)["run"]  # the thread is not to keep itself alive
            # A run that is stopped says so where the workflow makes its next call, or returns.
            with suppress(StopRun):
                task.carry(run, (), {})

        vars(self)["run"] = carried
        try:
            with _outside():
                original(self)
        except BaseException:
            task.ended = True
            if scope.turns is not None:
                scope.turns.threads.discard(task)
            raise

    start.__doc__ = original.__doc__
    return start


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        scope = _scope_here()
        if scope is None or scope.closed:
            return original(self, fn, *args, **kwargs)
        task = branch_off(scope, pool=self)
        try:
            with _outside():  # the pool's threads are no branches, and outlive the run
                task.future = original(self, task.carry, fn, args, kwargs)
        except BaseException:
            task.ended = True
            raise
        return task.future

    submit.__doc__ = original.__doc__
    return submit


def _looping(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def run_forever(self: Any) -> None:
        scope = _scope_here()
        if scope is None or scope.closed or scope.forked:
            return original(self)
        install_for_loops()
        scope.enter_loop(self)
        try:
            return original(self)
        finally:
            scope.leave_loop(self)

    run_forever.__doc__ = original.__doc__
    return run_forever


def _forking(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def start(self: Any) -> None:
        scope = _scope_here()
        if scope is not None:
            self._config[OURS] = scope.id  # travels with the process, however that is started
        original(self)

    start.__doc__ = original.__doc__
    return start


_unwrapped: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "threading": ("Thread", "start", _starting),
    "concurrent.futures.thread": ("ThreadPoolExecutor", "submit", _submitting),
    "asyncio.base_events": ("BaseEventLoop", "run_forever", _looping),
    "multiprocessing.process": ("BaseProcess", "start", _forking),
}
"""By module: the class and the method that are still to be wrapped."""


@contextmanager
def _outside() -> Iterator[None]:
    """What is started inside is not started by the workflow."""
    token = here.set(None)
    try:
        yield
    finally:
        here.reset(token)


# -- calls that come from no run ----------------------------------------------------------------------------------


def run_of_parent() -> str | None:
    """The id of the run that has started this process, with multiprocessing."""
    if "multiprocessing.process" not in sys.modules:
        return None
    from multiprocessing import process  # it waits while another thread is about to

    current: Any = process.current_process()
    run = current._config.get(OURS)
    return run if isinstance(run, str) else None
