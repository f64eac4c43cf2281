"""What a workflow calls in this process: steps, waits, child runs, queues and maps."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from sys import exception
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from perdure.core.execution.call import at_once, perform
from perdure.core.execution.call_end import Failed
from perdure.core.execution.effects import Execute, Outcome
from perdure.core.execution.history import History
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.identity import key_of_scalars
from perdure.core.execution.run_effects import Start
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.spending import ledgers
from perdure.core.records import KEY, NAME, OUTPUT, SEQ, Row, RunRecord
from perdure.engines import functions
from perdure.engines.interface import Enqueued, Given, here
from perdure.engines.local.resources import Resources
from perdure.engines.local.run_lifecycle import start_of
from perdure.engines.local.run_scope import RunScope
from perdure.engines.local.runs_of_before import take_left_child
from perdure.engines.runtime.thread_branches import current
from perdure.engines.runtime.threads import in_pool
from perdure.engines.runtime.timeouts import on_main_thread
from perdure.errors import NotDecodable, StateError, StopRun

if TYPE_CHECKING:
    import asyncio

    from perdure.core.execution.map_items import MapOptions, Tally
    from perdure.core.execution.waiting import Wait as DurableWait
    from perdure.engines.local.driver_interface import Drivers, Program
    from perdure.engines.runtime.loop_order import LoopOrder


class LocalScope(RunScope):
    """One run, and what its workflow's function calls: steps, waits, child runs, queues and maps.

    Args:
        resources: the state file and what goes with it.
        drivers: carry its decisions.
        run: its row.
        history: its records, and what is claimed of them.
        spec: the workflow; None while a run that has ended is cleaned up.
        parent: the run that it is a child of.
    """

    def __init__(
        self,
        resources: Resources,
        drivers: Drivers[LocalScope],
        run: RunRecord,
        history: History,
        spec: Spec | None = None,
        parent: LocalScope | None = None,
    ) -> None:
        super().__init__(resources, run, history, spec, parent)
        self.calls_by_id = True
        self.drivers = drivers
        self._children = 0

    # -- steps --------------------------------------------------------------------------------------------------------

    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step: returns its value or raises what it raised."""
        if self.shared or self.is_async or get_ident() != self.ident:
            return self._call_among_others(spec, args, kwargs)
        history = self.history
        if not history.ahead or self.resources.observer is not None or ledgers.get() or exception() is not None:
            return self._call(spec, args, kwargs)
        # Is the next record in hand that of this call? All else about it was looked at when its page was read, or is
        # noted when the next one is.
        row = history.ahead[-1]
        if self._functions.get(row[NAME]) is not spec.fn or spec.name != row[NAME]:
            return self._call(spec, args, kwargs)
        now = self.as_recorded(spec) if self.recorded_defaults else spec
        if row[KEY] != key_of_scalars(now, args, kwargs) or self._stopped is not None:
            return self._call(spec, args, kwargs)
        try:
            value = now.plan.unpack(row[OUTPUT])
        except NotDecodable:
            return self._call(spec, args, kwargs)
        history.ahead.pop()
        history.claims += 1
        if history.own_errors is not None:
            history.own_errors.came_to(row[SEQ])
        return value

    def _call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            call, sync = self.bind(spec, args, kwargs), self.drivers.sync
        except KeyboardInterrupt as error:
            with suppress(Exception):  # it cannot be called at all
                self.step_left_by(self.bind(spec, args, kwargs), error)
            raise
        end = sync.step(call, self) if self.deciding is None else sync.call(perform(call, self.history), self, spec)
        if type(end) is Failed:
            raise end.take()
        return end.value

    def acall(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """Call an async step; to be awaited at once, by the task that calls it."""
        if self.shared or not self.is_async or get_ident() != self.ident:
            return self._in_loop(lambda: self.bind(spec, args, kwargs), lambda call: perform(call, self.history))
        return self.drivers.tasks.step(self.bind(spec, args, kwargs), self)

    def _call_among_others(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same where other threads take part, or the event loop stands still meanwhile."""
        with self.taking_part():
            if not self.is_async or get_ident() != self.ident:
                return self._call(spec, args, kwargs)
            from perdure.engines.runtime.blocked_loop import watching

            with watching(spec.owner):
                return self._call(spec, args, kwargs)

    async def _in_loop(self, bind: Callable[[], Call], decide: Callable[[Call], Program]) -> Any:
        """A call that a task makes where other threads take part, or in a loop that the workflow runs itself."""
        if self.is_async and get_ident() == self.ident:
            self.refuse_if_forked()
            call = bind()
            return await self.drivers.tasks.call(decide(call), self, call)
        with self.taking_part(in_task=True):
            self._adopt_loop()
            call = bind()
            return await self.drivers.tasks.call(decide(call), self, call)

    def _adopt_loop(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        if self.order_of(loop) is None:
            self._adopt(loop)

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> LoopOrder:
        from perdure.engines.runtime import branches

        self.share()
        task = current(self)
        assert self.main is not None
        return branches.adopt_loop(self, loop, self.main if task is None else task.branch)

    def enter_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """The workflow, or a thread of it, runs an event loop from here on: its tasks are branches."""
        if self.order is None or self.order.loop is not loop:
            self._adopt(loop).enter()
            self.note_replays()

    def leave_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """It does not any more; it may go on later."""
        order = self.orders.get(loop)
        if order is not None:
            order.leave()
            self.note_replays()

    # -- waits --------------------------------------------------------------------------------------------------------

    def wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        """Wait durably, blocking the thread: the value, or what the wait raises."""
        if self.shared or get_ident() != self.ident:
            with self.taking_part():
                return self._wait(spec, given, key, wait)
        return self._wait(spec, given, key, wait)

    def _wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        from perdure.core.execution.waiting import await_

        calls: list[Call] = []
        try:
            calls.append(self.bind_wait(spec, given, key))
            self.drivers.sync.learn_to_wait()
            end = self.drivers.sync.drive(await_(calls[0], self.history, wait), self)
        except KeyboardInterrupt as error:
            self._left(calls or [self.bind_wait(spec, given, key)], error)
            raise
        if type(end) is Failed:
            raise end.take()
        return end.value

    async def await_wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        """The same in a task."""
        from perdure.core.execution.waiting import await_

        self.drivers.tasks.learn_to_wait()

        def bind() -> Call:
            return self.bind_wait(spec, given, key)

        if self.shared or not self.is_async or get_ident() != self.ident:
            return await self._in_loop(bind, lambda call: await_(call, self.history, wait))
        call = bind()
        return await self.drivers.tasks.call(await_(call, self.history, wait), self, call)

    # -- children -----------------------------------------------------------------------------------------------------

    def child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None = None) -> Any:
        """Call a sync workflow as a child, or as a run of that id."""
        from perdure.engines.runtime.nesting import check_headroom

        check_headroom(spec.owner)
        if self.shared or get_ident() != self.ident:
            with self.taking_part():
                return self._child(self._bind_child(spec, args, kwargs, id))
        return self._child(self._bind_child(spec, args, kwargs, id))

    def _child(self, call: Call) -> Any:
        try:
            end = self.drivers.sync.drive(self._decide_child(call), self)
        except BaseException as error:
            here.set(self)  # the run that was called may have been left as it began
            self.called_run_left_by(call, error)
            raise
        if type(end) is Failed:
            raise end.take()
        return end.value

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None = None) -> Any:
        """Call an async workflow as a child, or as a run of that id."""
        from perdure.engines.runtime.nesting import check_headroom

        check_headroom(spec.owner)
        self._children += 1
        calls: list[Call] = []

        def bind() -> Call:
            calls.append(self._bind_child(spec, args, kwargs, id))
            return calls[0]

        try:
            return await self._in_loop(bind, self._decide_child)
        except BaseException as error:
            if calls:
                self.called_run_left_by(calls[0], error)
            raise
        finally:
            self._children -= 1

    def has_children(self) -> bool:
        """Is a child run under way? It has the same deadline, ends by itself then, and is not to be torn off."""
        return self._children > 0

    def _bind_child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None) -> Call:
        if id is None:
            return self.bind(spec, args, kwargs)
        self.check()
        due_to_exit = self.handles(exception())
        call = functions.named_call(spec, args, kwargs, id)
        call.due_to_exit = due_to_exit
        return call

    def _decide_child(self, call: Call) -> Program:
        if call.spec.record_kind == "builtin":
            from perdure.engines.local import named_calls

            return named_calls.decide(self, call)
        from perdure.core.execution.child_run import child

        return child(call, self.history, lambda: self._start(call), partial(self.end_of, call.spec))

    def end_of(self, spec: Spec, id: str) -> Program:
        """Wait for the end of another run; the wait is a record of this one."""
        from perdure.core.execution.end_of_run import EndOfRun
        from perdure.core.execution.waiting import await_

        wait = EndOfRun(id)
        (self.drivers.tasks if spec.is_async else self.drivers.sync).learn_to_wait()
        return await_(self.bind_wait(wait.spec, wait.given, wait.key), self.history, wait)

    def _start(self, call: Call) -> Start:
        if self.history.resumed:
            take_left_child(self.resources.store, self.run, call, self.children_of_before)
        id = child_id(self.id, call.spec.name, call.key, call.n)  # by the place in the parent: resumed, the same child
        start = start_of(self.resources, call, self.run.path, id=id, parent=self.run.rid)
        call.key, call.input = start.key, start.input  # as the run was begun, whose inputs may look otherwise now
        return start

    def left_child(self, workflow: str, key: bytes) -> str | None:
        """See core/execution/drift.py: Left."""
        return None if self.tree is None else self.tree.left(self.run.rid, workflow, key)

    @property
    def root_id(self) -> str:
        """The id of the run that people know."""
        return str(cast(Any, self.family).run.id)

    # -- queues -------------------------------------------------------------------------------------------------------

    def enqueue(self, spec: Spec, given: Sequence[Given], how: Enqueued) -> list[str]:
        """Put runs of another workflow into a queue, in one transaction, each once in the lives of this run."""
        if self.shared or get_ident() != self.ident:
            with self.taking_part():
                return self._enqueue(spec, given, how)
        return self._enqueue(spec, given, how)

    def _enqueue(self, spec: Spec, given: Sequence[Given], how: Enqueued) -> list[str]:
        queueing = _queueing_calls()
        calls: list[Call] = []
        try:
            calls += [queueing.queueing(self, spec, args, kwargs, how) for args, kwargs in given]
            ends = self.drivers.sync.drive(queueing.decide_all(self, calls, how), self)
        except KeyboardInterrupt as error:
            self._left(calls or [queueing.queueing(self, spec, args, kwargs, how) for args, kwargs in given], error)
            raise
        for end in ends:
            if type(end) is Failed:
                raise end.take()
        return [end.value for end in ends]

    async def aenqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        """The same without blocking the event loop."""
        from perdure.engines.local.queueing_calls import decide, queueing

        id: str = await self._in_loop(
            lambda: queueing(self, spec, args, kwargs, how), lambda call: decide(self, call, how)
        )
        return id

    def _left(self, calls: Sequence[Call], error: KeyboardInterrupt) -> None:
        """Ctrl-C has left a wait, or the queueing of runs: an exit of each that is not saved, as of a step."""
        for call in calls:
            self.step_left_by(call, error)

    # -- batches ------------------------------------------------------------------------------------------------------

    def batch(self, calls: Iterator[Call], spec: Spec, options: MapOptions) -> Tally:
        """Run a sync step over many calls."""
        if self.shared or get_ident() != self.ident:
            with self.taking_part():
                return self._map_on_threads(calls, spec, options)
        return self._map_on_threads(calls, spec, options)

    def _map_on_threads(self, calls: Iterator[Call], spec: Spec, options: MapOptions) -> Tally:
        if not options.processes:
            return self._run_on_threads(calls, spec, options)
        from perdure.engines.processes.worker_pool import workers_of

        with workers_of(spec) as workers:
            return self._run_on_threads(map(workers.assign, calls), workers.spec, options)

    def _run_on_threads(self, calls: Iterator[Call], spec: Spec, options: MapOptions) -> Tally:
        from perdure.engines.local.thread_map import ThreadMap

        branch = self.branch()
        placed = calls if branch is None or not branch.path else map(branch.place, calls)
        items = ThreadMap(self, spec, options)
        turns = self.turns
        try:
            if turns is None:
                return items.run(placed)
            with turns.map(items) as task:
                return items.run(turns.drawing(task, placed))
        finally:
            items.over_for_good()

    async def abatch(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        bind: Callable[[Any], Call],
        spec: Spec,
        options: MapOptions,
    ) -> Tally:
        """Run an async step over many items."""
        self.refuse_if_forked()
        if not self.is_async or get_ident() != self.ident:
            with self.taking_part(in_task=True):
                self._adopt_loop()
                return await self._map_in_tasks(items, bind, spec, options)
        return await self._map_in_tasks(items, bind, spec, options)

    async def _map_in_tasks(self, items: Any, bind: Callable[[Any], Call], spec: Spec, options: MapOptions) -> Tally:
        if options.processes:
            from perdure.engines.processes.worker_pool import WorkerPool
            from perdure.engines.runtime.branches import to_thread_apart

            workers = WorkerPool(spec)
            try:
                return await self._run_in_tasks(items, lambda item: workers.assign(bind(item)), workers.spec, options)
            finally:
                await to_thread_apart(workers.close)
        return await self._run_in_tasks(items, bind, spec, options)

    async def _run_in_tasks(self, items: Any, bind: Callable[[Any], Call], spec: Spec, options: MapOptions) -> Tally:
        from perdure.engines.runtime.async_map import AsyncMap

        over = AsyncMap(self, spec, options)
        try:
            return await over.run(items, self.placing(bind))
        finally:
            over.over_for_good()

    def first_attempt(self, call: Call, park: bool) -> Outcome | Awaitable[Outcome] | None:
        """The first attempt of an item, begun in the current task; None: its decision has to be asked."""
        if self.deciding is not None or not at_once(call, self.history):
            return None
        return self.drivers.tasks.begin(Execute(call, 1, park), self)

    def first_attempt_here(self, call: Call, park: bool) -> Outcome | None:
        """The first attempt of an item, made on this thread; None: its decision has to be asked.

        Raises:
            StopRun: the run cannot go on.
        """
        alone = call.spec.explicit and not in_pool.handoff and not on_main_thread()  # its timeout is not kept here
        if alone or self.deciding is not None or not at_once(call, self.history):
            return None
        try:
            return self.drivers.sync.execute(Execute(call, 1, park), self)
        except (StateError, StopRun) as error:
            self.stop_for(error)

    def keep(self, rows: Sequence[Row]) -> None:
        """Save rows.

        Raises:
            StopRun: they cannot be saved.
        """
        try:
            self.resources.store.journal.write(rows)
        except StateError as error:
            self.stop_for(error)

    def keep_soon(self, rows: Sequence[Row], then: Callable[[BaseException | None], None]) -> None:
        """Save rows, to which more may be added until the turn of the loop ends; `then` is told how that went."""
        self.drivers.tasks.keep_soon(rows, then, self)

    # -- decisions ----------------------------------------------------------------------------------------------------

    def drive(self, program: Program, answer: Any = None) -> Any:
        """Carry a decision to its end on this thread, from where it waits for `answer`.

        Raises:
            StopRun: the run cannot go on.
        """
        return self.drivers.sync.drive(program, self, answer)

    def drive_step(self, program: Program, spec: Spec) -> Any:
        """The same for the call of a step, on a thread from which its timeout can be kept."""
        return self.drivers.sync.call(program, self, spec)

    def drive_in_task(self, program: Program, *, in_branch: bool = False) -> Awaitable[Any]:
        """Carry a decision to its end in the current task, which is known to be a branch (`in_branch`), or may be.

        Raises:
            StopRun: the run cannot go on.
        """
        return self.drivers.tasks.drive(program, self, in_branch=in_branch)


@cache
def _queueing_calls() -> Any:
    """Imported once: that costs each call as much as a small query."""
    from perdure.engines.local import queueing_calls

    return queueing_calls
