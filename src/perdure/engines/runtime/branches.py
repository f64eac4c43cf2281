"""The branches of async workflows: every task that one starts, directly or through others, in the order of their start.

While a workflow runs, the loop's task factory takes note of each new task. That is the one place that sees tasks being
made, so branches can be numbered in the order of their creation, which a resumed run repeats, rather than in the order
in which they come to their first call, which depends on what they await before it.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from sys import exception
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary, ref

from perdure.core.execution.branch import Branch
from perdure.core.execution.call_end import Failed
from perdure.core.execution.spec import Call
from perdure.engines.interface import StepContext, here
from perdure.engines.runtime.cancellation import CancelledScope, begin_when_cut, give_up, note_group
from perdure.engines.runtime.event_order import EventOrder
from perdure.engines.runtime.event_turns import OrderedScope
from perdure.engines.runtime.loop_order import LoopOrder
from perdure.engines.runtime.ready_handles import unwatch_ready, watch_ready
from perdure.engines.runtime.workflow_timers import unwatch_timers, watch_timers
from perdure.errors import StateError, StopRun

_here: ContextVar[Branch | None] = ContextVar("perdure_branch", default=None)
_apart: ContextVar[bool] = ContextVar("perdure_apart", default=False)
_of_task: WeakKeyDictionary[asyncio.Task[Any], ref[Branch]] = WeakKeyDictionary()
"""A branch holds its task: the run keeps it, as long as the task has not ended."""
_users: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


@contextmanager
def main_branch(scope: BranchScope) -> Iterator[Branch]:
    """The body of an async workflow: the current task is its own branch, and every task made inside is another."""
    task = asyncio.current_task()
    assert task is not None
    main = Branch(task)
    token = _here.set(main)
    loop = asyncio.get_running_loop()
    _watch(loop)
    watch_timers(loop)
    watch_ready(loop)
    scope.order = order = EventOrder(scope, loop, main.living)
    collected = False
    try:
        yield main
    except GeneratorExit:
        collected = loop.is_closed()  # nobody remembers the run: it goes with its loop
        raise
    finally:
        if not collected:
            order.close()
            main.living.look()
            _here.reset(token)
            unwatch_ready(loop)
            unwatch_timers(loop)
            _unwatch(loop)


def current_in_loop(line: Branch | None) -> Branch | None:
    """The same for a run in which threads take part, or loops of the program's own, on the branch `line`."""
    task = asyncio.current_task()
    known = _branch_of(task)
    if known is not None and (line is None or known.living is line.living):
        return known
    if _apart.get():
        return None
    branch = _here.get()
    if branch is not None and branch.task is task:
        return branch
    return line


def adopt_loop(scope: BranchScope, loop: asyncio.AbstractEventLoop, line: Branch) -> LoopOrder:
    """A loop that the workflow, or a thread of it, runs itself: its tasks are branches, those made later too.

    The oldest task is what carries the line on; the others were started by it.
    """
    assert scope.deciding is not None
    with scope.deciding:
        order = scope.orders.get(loop)
        if order is None:
            for other in [other for other in scope.orders if other.is_closed()]:
                _forget(other, scope.orders.pop(other))
                line.living.look()
            number = next(scope.loop_numbers.setdefault(line, itertools.count()))
            watch_timers(loop)
            watch_ready(loop)
            order = scope.orders[loop] = LoopOrder(scope, loop, line, b"%b~%d" % (line.path, number))
            if loop.is_running():
                order.runs_here()
            loop.set_task_factory(_LoopFactory(loop.get_task_factory(), scope, order))
        oldest: Branch | None = None
        for task in sorted(asyncio.all_tasks(loop), key=_age):
            known = _branch_of(task)
            if known is not None and known.living is line.living:
                continue
            branch = order.take_root(task) if oldest is None else order.take(task, oldest)
            _of_task[task] = ref(branch)
            oldest = oldest or branch
    scope.note_replays()
    return order


def let_go_of_loops(scope: BranchScope) -> None:
    """The workflow's function is over: the loops that it, or a thread of it, has run are the program's."""
    for loop, order in list(scope.orders.items()):
        _forget(loop, order)


def _forget(loop: asyncio.AbstractEventLoop, order: LoopOrder) -> None:
    """Leave the loop as it was found; the tasks of one that is closed are freed."""
    order.end()
    factory = loop.get_task_factory()
    if isinstance(factory, _LoopFactory) and factory.order is order:  # else another is in front of ours
        loop.set_task_factory(factory.before)
    unwatch_ready(loop)
    unwatch_timers(loop)


def _age(task: asyncio.Task[Any]) -> tuple[int, str]:
    name = task.get_name()
    number = name.rpartition("-")[2]
    return (int(number) if number.isdigit() else 0, name)


@contextmanager
def unwatched() -> Iterator[None]:
    """Tasks that are made inside are no branches of their own."""
    token, apart = _here.set(None), _apart.set(True)
    try:
        yield
    finally:
        _here.reset(token)
        _apart.reset(apart)


def current() -> Branch | None:
    """The branch that the current task is."""
    branch = _here.get()
    if branch is None:
        return None
    task = asyncio.current_task()
    if task is None or branch.task is task:
        return branch
    return _branch_of(task) or branch


def _branch_of(task: asyncio.Task[Any] | None) -> Branch | None:
    found = _of_task.get(task) if task is not None else None
    return None if found is None else found()


_AS_COMPLETED = asyncio.as_completed.__code__
_OF_GROUP = asyncio.TaskGroup.create_task.__code__
_FRAMES = 6
"""Between a task factory and those, at most."""


class _Factory:
    """Makes tasks as they would be made otherwise, and takes note of those that belong to a branch."""

    def __init__(self, before: Any) -> None:
        self.before = before
        self._started: dict[Any, Any] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        parent = self._parent(loop)
        if parent is None:
            return self._make(loop, coroutine, None, options)
        due_to_exit = False
        if (handled := exception()) is not None:  # the calls of the task are made meanwhile, and do not see it
            scope: Any = here.get()
            due_to_exit = hasattr(scope, "handles") and scope.handles(handled)
        known = self._started.pop(coroutine, None)
        if known is not None:
            return known
        for other in _in_order(coroutine):
            self._started[other] = self._branch_off(loop, other, parent, options)
        task = self._started.pop(coroutine, None) or self._branch_off(loop, coroutine, parent, options)
        if due_to_exit:
            for each in (task, *self._started.values()):
                if (branch := _branch_of(each)) is not None:
                    branch.due_to_exit = True
        return task

    def _parent(self, loop: asyncio.AbstractEventLoop) -> Branch | None:
        """The branch that starts a task; None if what does belongs to none."""
        return current() if _here.get() is not None else None

    def _branch_off(self, loop: asyncio.AbstractEventLoop, coroutine: Any, parent: Branch, options: Any) -> Any:
        return self._make(loop, coroutine, parent, options)

    def _make(self, loop: asyncio.AbstractEventLoop, coroutine: Any, parent: Branch | None, options: Any) -> Any:
        if self.before is not None:
            task = self.before(loop, coroutine, **options)
        elif parent is None or options.get("context") is not None:
            task = asyncio.Task(coroutine, loop=loop, **options)
        else:
            # Its branch is in its context, so that its calls need not look for it.
            context = contextvars.copy_context()
            task = asyncio.Task(coroutine, loop=loop, **{**options, "context": context})
            branch = Branch(task, parent)
            _of_task[task] = ref(branch)
            context.run(_here.set, branch)
            return task
        if parent is not None and isinstance(task, asyncio.Task):
            _of_task[task] = ref(Branch(task, parent))
        return task


class _LoopFactory(_Factory):
    """The same in a loop that the workflow runs itself, all of whose tasks belong to the run."""

    def __init__(self, before: Any, scope: BranchScope, order: LoopOrder) -> None:
        super().__init__(before)
        self.scope = scope
        self.order = order

    def _parent(self, loop: asyncio.AbstractEventLoop) -> Branch | None:
        """The branch that starts a task; None if what does is a step, another workflow, or perdure itself."""
        within: Any = here.get()
        if self.scope.closed or _apart.get() or isinstance(within, StepContext) or _here.get() is not None:
            return None
        parent = _branch_of(asyncio.current_task(loop))
        # A callback, or another thread, whose code is the workflow's.
        if parent is None and within is self.scope and loop.is_running():
            return self.order.root or self.order.line
        return parent

    def _branch_off(self, loop: asyncio.AbstractEventLoop, coroutine: Any, parent: Branch, options: Any) -> Any:
        task = self._make(loop, coroutine, None, options)
        if isinstance(task, asyncio.Task):
            assert self.scope.deciding is not None
            with self.scope.deciding:
                order = self.order
                branch = order.take_root(task) if parent is order.line else order.take(task, parent)
                _of_task[task] = ref(branch)
        return task


def _in_order(coroutine: Any) -> list[Any]:
    """The coroutines of an `as_completed`, which starts them in the order of a set: another one in each process.

    A task group that starts one is noted on the way.
    """
    frame = sys._getframe(2)
    for _ in range(_FRAMES):
        if frame.f_code is _AS_COMPLETED:
            given = frame.f_locals.get("fs")
            if isinstance(given, list | tuple) and coroutine in given:
                return [each for each in dict.fromkeys(given) if asyncio.iscoroutine(each)]
            return []
        if frame.f_code is _OF_GROUP:
            note_group(frame.f_locals["self"])
            return []
        if frame.f_back is None:
            return []
        frame = frame.f_back
    return []


def _watch(loop: asyncio.AbstractEventLoop) -> None:
    users = _users.get(loop, 0)
    if users == 0:
        loop.set_task_factory(_Factory(loop.get_task_factory()))
    _users[loop] = users + 1


def _unwatch(loop: asyncio.AbstractEventLoop) -> None:
    _users[loop] -= 1
    factory = loop.get_task_factory()
    if _users[loop] == 0 and isinstance(factory, _Factory):  # else another is in front of ours
        loop.set_task_factory(factory.before)


async def to_thread_apart(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of perdure's own in a thread, which is no branch of the workflow."""
    token = here.set(None)
    try:
        calling = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, function, *args)
    finally:
        here.reset(token)
    return await calling


class BranchScope(OrderedScope, CancelledScope, Protocol):
    """The run that branches belong to."""

    closed: bool
    order: EventOrder | None
    orders: dict[Any, LoopOrder]
    loop_numbers: dict[Branch, Iterator[int]]

    def order_here(self) -> EventOrder | None:
        """The order of the events in the loop that runs here; None if none does."""

    def stop_for(self, error: StateError | StopRun) -> NoReturn:
        """The run cannot go on because of that: every further call says so again."""

    def drive_in_task(self, program: Generator[Any, Any, Any], *, in_branch: bool = False) -> Awaitable[Any]:
        """Carry a decision to its end in the current task, which is known to be a branch (`in_branch`), or may be."""


def call_in_branch(scope: BranchScope, program: Generator[Any, Any, Any], call: Call) -> Coroutine[Any, Any, Any]:
    """A call that the current task makes: its value, or what it raises."""
    return in_branch(scope, call, partial(scope.drive_in_task, program, in_branch=True))


async def in_branch(scope: BranchScope, call: Call, begin: Callable[[], Awaitable[Any]]) -> Any:
    """The same; `begin` begins it, and what that returns is awaited for its end.

    Raises:
        asyncio.CancelledError: the workflow has returned without waiting for this branch.
        StopRun: the run cannot go on.
    """
    task = asyncio.current_task()
    assert task is not None
    if scope.closed:
        raise asyncio.CancelledError
    running = scope.running
    if scope.cut_short or scope.withheld or scope.cut_from is not None:
        begin_when_cut(scope, call)
    nested = task in running
    running.add(task)
    try:
        end = await begin()
    except asyncio.CancelledError:
        if not scope.closed and scope.stopped is None and give_up(scope, call):
            order = scope.order_here()
            if order is not None:
                await order.ended_at_last(call.seq)
        raise
    except (StateError, StopRun) as error:
        scope.stop_for(error)
    finally:
        if not nested:
            running.discard(task)
    if type(end) is Failed:
        del task  # it ends with this error, whose traceback leads here
        raise end.take()
    return end.value


async def cancel_branches(scope: BranchScope) -> None:
    """The workflow's function is over: what it left running (a gather that failed early) is over as well.

    Nothing may write to the run after it has ended, since another process may go on with it then.
    """
    scope.closed = True
    loop = asyncio.get_running_loop()
    while tasks := [task for task in (*scope.running, *scope.maps) if task.get_loop() is loop]:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
