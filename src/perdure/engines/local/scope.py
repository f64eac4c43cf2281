"""A workflow that runs in this process: what its steps, batches and child workflows reach."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from perdure.core.execution.branch import Branch
from perdure.core.execution.call import Failed, perform
from perdure.core.execution.history import History
from perdure.core.execution.map_items import Tally
from perdure.core.execution.run import Start, child
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunRecord
from perdure.engines.events import StepProgress
from perdure.engines.interface import Concurrency, OnFailure
from perdure.engines.local.limits import Limits
from perdure.engines.local.record_reader import RunReader
from perdure.engines.runtime.base_scope import Running
from perdure.engines.runtime.timeouts import on_main_thread
from perdure.errors import StopRun

if TYPE_CHECKING:
    import asyncio

    from perdure.engines.local.async_commit import Gate
    from perdure.engines.local.engine import LocalEngine


class LocalScope(Running):
    """One run, while its workflow's function executes.

    Args:
        engine: who runs it.
        run: its row.
        history: its records, and what is claimed of them.
        spec: the workflow; None while a run that has ended is cleaned up.
        parent: the run that it is a child of.
    """

    def __init__(
        self, engine: LocalEngine, run: RunRecord, history: History, spec: Spec | None, parent: LocalScope | None
    ) -> None:
        super().__init__(run.id, history)
        self.engine = engine
        self.limits: Limits = Limits(engine, run, spec, parent.limits if parent is not None else None)
        self.run = run
        self.records = RunReader(engine.store, run.rid)
        self.running: set[asyncio.Task[Any]] = set()
        self.settling: list[tuple[Call, Branch | None]] = []  # who waits for the replay to come to rest
        self.gate: Gate | None = None  # where the run's loop commits
        self.executing = 0  # steps of async code under way, or waiting for their next attempt
        self._children = 0
        self.closed = False
        self.abandoned = False
        self.suspects = threading.Lock()  # steps that were in flight at a crash, one at a time
        self._suspects: asyncio.Lock | None = None

    def look(self) -> None:
        """A safe point: the run may be ended here.

        Raises:
            StopRun: its time is over, or somebody has cancelled it.
        """
        reason = self.limits.look()
        if reason is not None:
            raise self.stop(StopRun(reason))

    def suspects_in_turn(self) -> asyncio.Lock:
        """The same for async steps."""
        import asyncio

        if self._suspects is None:
            self._suspects = asyncio.Lock()
        return self._suspects

    def check_late(self, error: Exception) -> None:
        """The same after an attempt: if it ran out of time because the run did, it is the run that has failed.

        Raises:
            StopRun: it did.
        """
        if (late := self.limits.late(error)) is not None:
            raise self.stop(StopRun(late))

    def alarm(self) -> AbstractContextManager[None]:
        """Where the code between the steps of a sync workflow is interrupted when the run's time is over."""
        deadline = self.limits.deadline
        if deadline is None or not on_main_thread():
            return nullcontext()
        from perdure.engines.local.interrupt import alarm

        left = self.limits.bound(None)
        assert left is not None
        return alarm(left, lambda: self.stop(StopRun(deadline.exceeded())))

    # -- steps --------------------------------------------------------------------------------------------------------

    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step: returns its value or raises what it raised."""
        end = self.engine.sync.call(perform(self.bind(spec, args, kwargs), self.history), self, spec)
        if type(end) is Failed:
            raise end.error
        return end.value

    async def acall(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async step."""
        return await self.engine.tasks.call(perform(self.bind(spec, args, kwargs), self.history), self)

    # -- children -----------------------------------------------------------------------------------------------------

    def child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync workflow as a child."""
        call = self.bind(spec, args, kwargs)
        end = self.engine.sync.drive(child(call, self.history, lambda: self._start(call)), self)
        if type(end) is Failed:
            raise end.error
        return end.value

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async workflow as a child."""
        call = self.bind(spec, args, kwargs)
        self._children += 1
        try:
            return await self.engine.tasks.call(child(call, self.history, lambda: self._start(call)), self)
        finally:
            self._children -= 1

    def has_children(self) -> bool:
        """Is a child run under way? It has the same deadline, ends by itself then, and is not to be torn off."""
        return self._children > 0

    def _start(self, call: Call) -> Start:
        return self.engine.start(call, self.run.path, id=self.child_id(call), parent=self.run.rid)

    # -- batches ------------------------------------------------------------------------------------------------------

    def batch(
        self, calls: Iterator[Call], spec: Spec, concurrency: Concurrency, on_failure: OnFailure, total: int | None
    ) -> Tally:
        """Run a sync step over many calls, `concurrency` at a time."""
        from perdure.engines.local.thread_map import ThreadBatch

        return ThreadBatch(self, spec, concurrency, on_failure, total).run(map(self.placing(lambda call: call), calls))

    async def abatch(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        bind: Callable[[Any], Call],
        spec: Spec,
        concurrency: Concurrency,
        on_failure: OnFailure,
        total: int | None,
    ) -> Tally:
        """Run an async step over many items, `concurrency` at a time."""
        from perdure.engines.local.thread_map import TaskBatch

        return await TaskBatch(self, spec, concurrency, on_failure, total).run(items, self.placing(bind))

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Notify the observer of how far a step has come; a run whose steps make progress does not hang."""
        if self.engine.vigil.recorder is not None:
            self.engine.vigil.recorder.progress()
        if self.engine.observer is not None:
            self.engine.observer.notify(StepProgress(self.id, self.run.workflow, call, done, total, note))

    def reader(self) -> RunReader:
        """Access to the records of this run, also after it has ended."""
        return RunReader(self.engine.store, self.run.rid)
