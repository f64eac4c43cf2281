"""A workflow that runs in this process: what its steps, batches and child workflows reach."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePath
from threading import get_ident
from types import CodeType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from perdure.core import commands
from perdure.core.exceptions import capture
from perdure.core.execution.call import Failed, perform
from perdure.core.execution.effects import Wait
from perdure.core.execution.history import History
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.identity import identify_stored
from perdure.core.execution.map_items import MapOptions, Tally
from perdure.core.execution.queueing import QueuedRun, enqueue
from perdure.core.execution.run import Start, child
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.spending import NOTHING, Amounts, Bounds, Ledger
from perdure.core.records import OWN_MODULE, FunctionRecord, Place, RunRecord, StepKind, StepRecord, clean_up_name
from perdure.core.redaction.printable import one_line
from perdure.core.values import artifact_names, codec
from perdure.engines import functions
from perdure.engines.events import MapProgress, RunWaits, StepProgress, notify_wait
from perdure.engines.interface import Enqueued
from perdure.engines.local import captured_lines, notices
from perdure.engines.local.limits import Limits
from perdure.engines.local.queues import declare_queues
from perdure.engines.local.record_reader import RecordReader
from perdure.engines.local.resources import Resources
from perdure.engines.local.run_lifecycle import queued_runs, start_of
from perdure.engines.registry import find_step
from perdure.engines.runtime.base_scope import BaseScope
from perdure.engines.runtime.clock import World
from perdure.engines.runtime.nesting import check_headroom
from perdure.engines.runtime.thread_branches import current
from perdure.engines.runtime.timeouts import on_main_thread
from perdure.errors import StopRun
from perdure.store import artifacts, spending
from perdure.store.attempt_logs import LogFile
from perdure.store.batches import BatchRow
from perdure.store.lives import Cut
from perdure.store.spending import Spent

if TYPE_CHECKING:
    import asyncio

    from perdure.core.execution.waiting import Wait as DurableWait
    from perdure.engines.local.loop_writes import LoopWrites
    from perdure.store.schedule_rows import TickRow

Program = Generator[Any, Any, Any]


class Sync(Protocol):
    """Performs the effects of decisions by blocking."""

    def drive(self, program: Program, scope: LocalScope | None, answer: Any = None) -> Any:
        """Carry a decision to its end on this thread."""

    def until(self, program: Program, kind: type) -> Program:
        """Carry a decision on this thread until it asks for an effect of that kind; what is left of it."""

    def call(self, program: Program, scope: LocalScope, spec: Spec) -> Any:
        """Carry the call of a step to its end, on a thread from which its timeout can be kept."""

    def learn_to_wait(self) -> None:
        """From now on it performs the effects of durable waits too."""


class Tasks(Protocol):
    """Performs the effects of decisions by awaiting."""

    def drive(self, program: Program, scope: LocalScope | None, *, in_branch: bool = False) -> Awaitable[Any]:
        """Carry a decision to its end in the current task, which is known to be a branch (`in_branch`), or may be."""

    def call(self, program: Program, scope: LocalScope, call: Call) -> Awaitable[Any]:
        """A call that the workflow makes: its value, or what it raised."""

    def learn_to_wait(self) -> None:
        """From now on it performs the effects of durable waits too."""


class Drivers(Protocol):
    """What carries the decisions of a run."""

    @property
    def sync(self) -> Sync:
        """By blocking."""

    @property
    def tasks(self) -> Tasks:
        """By awaiting."""


MOST_CUT = 1_000
"""Calls that were broken off, which are kept."""


class LocalScope(BaseScope):
    """One run, while its workflow's function executes.

    Args:
        resources: the state file and what goes with it.
        drivers: carry its decisions.
        run: its row.
        history: its records, and what is claimed of them.
        spec: the workflow; None while a run that has ended is cleaned up.
        parent: the run that it is a child of.
    """

    takes_threads = True

    def __init__(
        self,
        resources: Resources,
        drivers: Drivers,
        run: RunRecord,
        history: History,
        spec: Spec | None = None,
        parent: LocalScope | None = None,
    ) -> None:
        super().__init__(run.id, history)
        self.resources = resources
        self.drivers = drivers
        self.limits: Limits = Limits(resources, run, spec, parent.limits if parent is not None else None)
        self.run = run
        self.parent = parent
        self.records = RecordReader(resources.store, run.rid)
        self.commit: LoopWrites | None = None  # of the loop that the run executes on
        self._children = 0
        self._own_stem: str | None = None
        self.abandoned = False
        self.waits: Any = None  # of a root and its child runs: see parking
        self.kin: list[LocalScope] = []  # the scopes of a run and its child runs that execute
        if parent is not None:
            self.family, self.kin = parent.family, parent.kin
        self.kin.append(self)
        self._spending = threading.Lock()
        self.progress_shown = float("-inf")  # when, by the steady clock
        self._ledgers = 0  # how many blocks with a budget were entered
        self.suspects = threading.Lock()  # steps that were in flight at a crash, one at a time
        self._suspects: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
        self.cut: list[Cut] = []
        self._batches: dict[int, BatchRow] = {}  # maps under way
        self._maps = 0  # how many maps were begun
        self._noted_spending = False
        self._records_spending = spec is not None  # records of clean-ups and redrives are made otherwise
        if spec is not None and parent is None:
            resources.store.add_code(functions.code_of(spec))
        if resources.keeps_logs:
            captured_lines.wrap()

    @property
    def log_file(self) -> LogFile | None:
        """Where the lines of its attempts go; None if none are kept."""
        return self.resources.log_file

    @property
    def state_file(self) -> Path | None:
        """The state file that the run is in."""
        return self.resources.store.path

    def cut_off(self, cut: Cut) -> None:
        """An attempt was broken off in its middle; if the run is, its call is executed in another life as well."""
        if len(self.cut) < MOST_CUT:
            self.cut.append(cut)

    def noted_module(self, spec: Spec) -> str:
        """The name of its file alone, as in state files of version 1: notes of before are found again.

        The run's own script keeps the name that it had at the first note, should it be renamed.
        """
        stem = PurePath(os.path.realpath(spec.file)).stem or OWN_MODULE
        if os.path.abspath(spec.file) != self.run.path:
            return stem
        if self._own_stem is None:
            store, rid = self.resources.store, self.run.rid
            known = store.function(rid, "defer", "")
            self._own_stem = stem if known is None else known.module
            if known is None:
                store.add_function(rid, FunctionRecord("defer", "", stem, "", ""))
        return self._own_stem

    def _note_place(self, spec: Spec) -> None:
        if spec.record_kind == "step":
            store, rid, code = self.resources.store, self.run.rid, functions.code_of(spec)
            store.add_code(code)
            store.add_function(rid, functions.record_of(spec, "step", spec.name, self.run.path, code.digest))

    def find_step(self, kind: StepKind, module: str, name: str, given: bytes) -> Spec:
        """The step that a clean-up calls.

        Raises:
            NotFound: the script does not define it any more.
        """
        store, rid = self.resources.store, self.run.rid
        record = store.function(rid, "step", name)
        if record is None:
            return find_step(Place(module, ""), name, given)
        called = msgspec.structs.replace(record, kind=kind, name=clean_up_name(kind, name))
        store.add_function(rid, called)  # of its dead letter, should it become one
        return functions.find(record, self.run.path, given)

    def look(self) -> None:
        """A safe point: the run may be ended here.

        Raises:
            StopRun: its time is over, or it is cancelled.
            UsageError: the workflow's function has ended.
        """
        if self.closed:
            self.refuse_if_over()
        reason = self.limits.look()
        if reason is not None:
            raise self.stop(StopRun(reason))

    def read(self, seq: int) -> StepRecord:
        """The record of that number."""
        return self.records.record(seq)

    def notify_waiting(self, reason: str) -> None:
        """Say, on standard error if there is no observer, that the replay waits for something."""
        if self.resources.observer is not None:
            self.resources.observer.notify(RunWaits(self.run.workflow, reason))
        else:
            print(f"perdure: run {one_line(self.id)} waits: {one_line(reason)}", file=sys.stderr, flush=True)

    def keep_note(self, about: str, text: str) -> None:
        """Keep with the run that something of it is not saved."""
        fault = capture.encode(capture.to_fault(RuntimeWarning(text)))
        self.resources.store.note(
            self.run, codec.digest(f"{about}: {text}".encode()), fault, self.resources.world.now()
        )

    def suspects_in_turn(self) -> asyncio.Lock:
        """The same for async steps."""
        import asyncio

        return self._suspects.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    @property
    def artifacts(self) -> Path:
        """Where `perdure.artifact` keeps large data."""
        return artifacts.folder_of(self.resources.store.path)

    def remake(self, digest: str) -> str:
        """The command that makes the step again whose result names an artifact; empty if no step of this run does."""
        store, rid, first = self.resources.store, self.run.rid, 0
        while records := store.records(rid, first):
            for one in records:
                if one.kind == "step" and digest in artifact_names.named_in(one.output):
                    return commands.fork(self.run.id, one.name)
            first = records[-1].seq + 1
        return ""

    # -- spending -----------------------------------------------------------------------------------------------------

    def open_ledger(self, bounds: Bounds) -> Ledger:
        """A block of the workflow begins that may spend so much."""
        store, rid = self.resources.store, self.run.rid
        with self._spending:
            number = self._ledgers
            self._ledgers += 1
        history = self.history
        history.failed_after_all = self.count_failed
        history.spent_saved = self._spent_saved
        before = NOTHING
        if history.spent or history.spent_by_children:
            before = store.spent_in(rid, f"{rid}:{number}")
        for line in store.lineage(rid):
            raised = bounds.raised_to(store.raised_bounds(line))
            if raised != bounds:
                self.resources.raised.add(line)
            bounds = raised
        return Ledger(self.id, rid, number, bounds, before, threading.Lock())

    def spend(self, call: Call, usd: int, tokens: int) -> None:
        """A step has spent that much: written down before this returns, so that a kill does not lose it.

        Raises:
            StateIO: it cannot be.
        """
        self.history.failed_after_all = self.count_failed
        self.history.spent_saved = self._spent_saved
        with self._spending:
            spent = self._begin_spending(call)
            spent.usd += usd
            spent.tokens += tokens
            self.resources.store.spend_file.note(spent)
            for ledger in call.ledgers:
                ledger.spend(Amounts(usd=usd, tokens=tokens))

    def save_spending(self, call: Call, seconds: float, *, ok: bool) -> None:
        """An attempt has ended: what it spent is saved with the next commit, which is that of how it ended.

        In a budget it is a call, also if it spends neither money nor tokens; `ok`: its record says that much.
        """
        if ok and call.spending is None and self._counts_by_record(call):
            ms = int(seconds * 1000)
            if ms == 0:
                return
            spent = Amounts(ms=ms)
        elif ok and call.spending is not None and self._fits_record(call):
            with self._spending:
                call.spending.ms = ms = int(seconds * 1000)
                call.more().spent = spending.text_of(call.spending)
                if not self._noted_spending:
                    self._noted_spending = True
                    self.resources.store.journal.ahead(*spending.mark(self.run.rid))
            spent = Amounts(ms=ms)
        else:
            with self._spending:
                saved = self._begin_spending(call)
                saved.ms = int(seconds * 1000)
                call.spending = None
                self.resources.store.save_spending(saved)
                spent = Amounts(ms=saved.ms)
        for ledger in call.ledgers:
            ledger.spend(spent)

    def count_failed(self, call: Call, seconds: float) -> None:
        """An attempt had ended well, and its call has failed all the same: no record will say that it was made."""
        if call.counted and call.spending is None:
            return
        with self._spending:
            saved = self._begin_spending(call)
            saved.ms = int(seconds * 1000)
            call.spending = None
            if call.extras is not None:
                call.extras.spent = None
            self.resources.store.save_spending(saved)

    def _spent_saved(self, call: Call) -> None:
        """The record of a call is saved, and says what it has spent."""
        serial, call.spending = call.spending.serial, None
        self.resources.store.spending_saved(serial)

    def _fits_record(self, call: Call) -> bool:
        """May what a call has spent stand in its record? It may not where `_counts_by_record` says so."""
        if not self._records_spending or call.spending.calls != 1 or call.spec.undo is not None:
            return False
        return all(ledger.rid == self.run.rid for ledger in call.ledgers)

    def _counts_by_record(self, call: Call) -> bool:
        """Is the record of a call all that has to be kept of what it spent?

        Not if attempts of it have failed; if the record may be taken back, since what was spent stays spent; or if a
        budget of a run above counts the call, too, which does not read this run's records.
        """
        if call.counted or call.spec.undo is not None or self.history.spent_by(call) is not NOTHING:
            return False
        return all(ledger.rid == self.run.rid for ledger in call.ledgers)

    def _begin_spending(self, call: Call) -> Spent:
        spent: Spent | None = call.spending
        if spent is None:
            store = self.resources.store
            first = not call.counted and self.history.spent_by(call).calls == 0
            serial = store.spend_file.begin(store.holder.token)
            labels = " ".join(ledger.label for ledger in call.ledgers)
            who = (self.run.rid, call.spec.name, call.key, call.n)
            spent = call.spending = Spent(serial, *who, 0, 0, int(first), 0, labels)
            call.counted = True
        return spent

    def check_late(self, error: Exception) -> None:
        """The same after an attempt: if it ran out of time because the run did, it is the run that has failed.

        Raises:
            StopRun: it did.
        """
        if (late := self.limits.late(error)) is not None:
            raise self.stop(StopRun(late))

    def interrupt(self, caller: CodeType) -> AbstractContextManager[None]:
        """The code between the steps of a sync workflow, interrupted inside when the run's time is over.

        Args:
            caller: the code of ours that calls the workflow's function.
        """
        deadline = self.limits.deadline
        if deadline is None or not on_main_thread():
            return nullcontext()
        from perdure.engines.local.interrupt import interrupt

        left = self.limits.bound(None)
        assert left is not None
        return interrupt(left, lambda: self.stop(StopRun(deadline.exceeded())), caller)

    # -- steps --------------------------------------------------------------------------------------------------------

    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step: returns its value or raises what it raised."""
        if self.shared or self.is_async or get_ident() != self.ident:
            return self._call_among_others(spec, args, kwargs)
        return self._call(spec, args, kwargs)

    def _call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        end = self.drivers.sync.call(perform(self.bind(spec, args, kwargs), self.history), self, spec)
        if type(end) is Failed:
            raise end.error
        return end.value

    def acall(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """Call an async step; to be awaited at once, by the task that calls it."""
        if self.shared or not self.is_async or get_ident() != self.ident:
            return self._in_loop(lambda: self.bind(spec, args, kwargs), lambda call: perform(call, self.history))
        call = self.bind(spec, args, kwargs)
        return self.drivers.tasks.call(perform(call, self.history), self, call)

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
            end = await self.drivers.tasks.drive(decide(bind()), self)
        if type(end) is Failed:
            raise end.error
        return end.value

    def _adopt_loop(self) -> None:
        from perdure.engines.runtime import branches

        self.share()
        task = current(self)
        assert self.deciding is not None
        assert self.main is not None
        branches.adopt_loop(self.main if task is None else task.branch, self.deciding)

    # -- waits --------------------------------------------------------------------------------------------------------

    def wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        """Wait durably, blocking the thread: the value, or what the wait raises."""
        if self.shared or get_ident() != self.ident:
            with self.taking_part():
                return self._wait(spec, given, key, wait)
        return self._wait(spec, given, key, wait)

    def _wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        from perdure.core.execution.waiting import await_

        call = self.bind_wait(spec, given, key)
        self.drivers.sync.learn_to_wait()
        end = self.drivers.sync.drive(await_(call, self.history, wait), self)
        if type(end) is Failed:
            raise end.error
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

    def child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync workflow as a child."""
        check_headroom(spec.owner)
        if self.shared or get_ident() != self.ident:
            with self.taking_part():
                return self._child(spec, args, kwargs)
        return self._child(spec, args, kwargs)

    def _child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self.bind(spec, args, kwargs)
        end = self.drivers.sync.drive(child(call, self.history, lambda: self._start(call)), self)
        if type(end) is Failed:
            raise end.error
        return end.value

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async workflow as a child."""
        check_headroom(spec.owner)
        self._children += 1
        try:
            return await self._in_loop(
                lambda: self.bind(spec, args, kwargs),
                lambda call: child(call, self.history, lambda: self._start(call)),
            )
        finally:
            self._children -= 1

    def has_children(self) -> bool:
        """Is a child run under way? It has the same deadline, ends by itself then, and is not to be torn off."""
        return self._children > 0

    def _start(self, call: Call) -> Start:
        return start_of(self.resources, call, self.run.path, id=self.child_id(call), parent=self.run.rid)

    # -- queues -------------------------------------------------------------------------------------------------------

    def enqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        """Put a run of another workflow into a queue, once in the lives of this run; returns its id."""
        if self.shared or get_ident() != self.ident:
            with self.taking_part():
                return self._enqueue(spec, args, kwargs, how)
        return self._enqueue(spec, args, kwargs, how)

    def _enqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        call = self._queueing(spec, args, kwargs, how)
        end = self.drivers.sync.drive(self._decide_queueing(call, how), self)
        if type(end) is Failed:
            raise end.error
        id: str = end.value
        return id

    async def aenqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        """The same without blocking the event loop."""
        id: str = await self._in_loop(
            lambda: self._queueing(spec, args, kwargs, how), lambda call: self._decide_queueing(call, how)
        )
        return id

    def _queueing(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> Call:
        """The call that stands for it in the records: its inputs are those of the workflow."""
        self.check()
        declare_queues(self.resources.store, self.world.now())
        spec.refuse_unstorable()
        asked = identify_stored(spec, args, kwargs)
        key = codec.digest(b"enqueue\0" + asked.key + (how.id or "").encode())
        step = functions.queueing_of(spec.name)
        self.admit(step)
        call = Call(step, (asked,), {}, asked.input, key)
        branch = self.branch()
        return call if branch is None else branch.place(call)

    def _decide_queueing(self, call: Call, how: Enqueued) -> Program:
        (asked,) = call.args

        def queued_run() -> QueuedRun:
            id = child_id(self.id, asked.spec.name, call.key, call.n) if how.id is None else how.id
            (queued,) = queued_runs(self.resources, [asked], how, id)
            return queued

        return enqueue(call, self.history, queued_run, self.world.now())

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
        try:
            return items.run(placed)
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

    def begin_map(self, spec: Spec, total: int | None, concurrency: int | None) -> int:
        """A map begins: its number in the run."""
        store, run = self.resources.store, self.run
        with self._spending:
            self._maps += 1
            number = self._maps
        known = store.batch(run.rid, number) if self.history.resumed else None
        began = self.world.now() if known is None else known.began
        row = self._batches[number] = BatchRow(run.rid, number, spec.name, total, concurrency, began)
        store.journal.ahead(*row.put())
        return number

    def end_map(self, number: int) -> None:
        """The map of that number is over: what is under way has come to its end."""
        row = self._batches.pop(number)
        row.ended = self.world.now()
        self.resources.store.journal.ahead(*row.put())

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Notify of how far a step has come; a run that reports progress does not hang."""
        resources = self.resources
        if resources.monitor.recorder is not None:
            resources.monitor.recorder.progress()
        if resources.observer is not None:
            resources.observer.notify(StepProgress(self.id, self.run.workflow, call, done, total, note))

    def tick(self) -> TickRow | None:
        """The tick that the run, or the one that it is a child or a fork of, was made for; None: none."""
        from perdure.store.schedule_runs import tick_of_run

        store = self.resources.store
        run: RunRecord | None = store.run_by_number(store.lineage(self.run.rid)[-1])
        while run is not None:
            found = tick_of_run(store, run.rid)
            if found is not None:
                return found
            run = None if run.forked_from is None else store.run_by_number(run.forked_from)
        return None

    def reader(self) -> RecordReader:
        """Access to the records of this run, also after it has ended."""
        return RecordReader(self.resources.store, self.run.rid)

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

    @property
    def world(self) -> World:
        """Time and chance."""
        return self.resources.world

    def notify_wait(self, wait: Wait) -> None:
        """Notify of a call that waits for its next attempt."""
        notify_wait(self.resources.observer, self.id, self.run.workflow, wait)
        notices.waits(self.resources, wait)

    def notify_map(self, name: str, tally: Tally, total: int | None) -> None:
        """Notify of how far a map over the step of that name has come."""
        observer = self.resources.observer
        if observer is not None:
            observer.notify(MapProgress(self.id, self.run.workflow, name, tally.done, tally.dead, tally.skipped, total))
