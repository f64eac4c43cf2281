"""A workflow that runs on a cluster, on its function's thread: what its steps, batches and child workflows reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, cast

from perdure.core.execution.call import perform
from perdure.core.execution.call_end import Failed
from perdure.core.execution.child_run import nested
from perdure.core.execution.effects import Admit, Execute, Load, MakeReady, Save, SaveAttempt, Settle, Wait, WaitGivenUp
from perdure.core.execution.history import History
from perdure.core.execution.map_items import MapOptions, Tally
from perdure.core.execution.run import Ended
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.waiting import CloseWait, Park, await_
from perdure.core.execution.waiting import Wait as DurableWait
from perdure.core.records import SEQ, StepRecord
from perdure.core.tick_verdicts import RunTick
from perdure.engines.interface import Enqueued, Given
from perdure.engines.runtime.base_scope import BaseScope
from perdure.engines.runtime.branches import call_in_branch, cancel_branches
from perdure.engines.runtime.deadline import Deadline
from perdure.engines.runtime.quiescence import settle, until_given_up
from perdure.engines.temporal.call_dispatch import CallDispatch, ChildRun
from perdure.engines.temporal.event_loop import LockstepEventLoop
from perdure.engines.temporal.in_place import Root
from perdure.engines.temporal.lockstep_thread import LockstepThread, Ticket
from perdure.engines.temporal.mailbox import Mailbox
from perdure.engines.temporal.open_waits import OpenWaits
from perdure.engines.temporal.payloads import RunCommand
from perdure.engines.temporal.published_values import PublishedValues
from perdure.engines.temporal.queueing_steps import decide, queueing
from perdure.engines.temporal.run_records import RunRecords
from perdure.engines.temporal.unsupported import refuse_locks, refuse_own_loop, unguarded
from perdure.engines.temporal.wait_effects import WAIT_EFFECTS, WaitEffects
from perdure.errors import StopRun

MOST_KEPT = 40_000_000
"""Bytes of records: a new record of Temporal's has to begin with all of them."""
FIRST_LOOK = 0.05
"""Seconds of the first wait for a branch that is on its way to its next call; each further one is as long as all before
it, since Temporal notes every timer."""

Program = Generator[Any, Any, Any]


class ClusterScope(BaseScope):
    """One run, while its workflow's function executes.

    Args:
        command: the run.
        history: its records, and what is claimed of them.
        records: the records themselves.
        thread: the function's thread.
        children: the executions of unfinished child runs, by id.
        deadline: when the run is over, if that is bounded.
        waits: the durable waits, and what was sent to the run.
        workflow_id: what Temporal knows it by.
        published: what it publishes.
    """

    def __init__(
        self,
        command: RunCommand,
        history: History,
        records: RunRecords,
        thread: LockstepThread,
        children: dict[str, str],
        deadline: Deadline | None = None,
        waits: OpenWaits | None = None,
        workflow_id: str = "",
        published: PublishedValues | None = None,
    ) -> None:
        super().__init__(command.id, history)
        self.calls_by_id = False
        self.root = Root(*command.root) if command.root is not None else Root(command.id, command.name, workflow_id)
        self.waits = waits or OpenWaits(Mailbox())
        self.published = published or PublishedValues(None)
        self.deadline = deadline
        self.command = command
        self.records = records
        self.thread = thread
        self.children = children
        self.loop: LockstepEventLoop | None = None
        self._dispatch = self.dispatch()
        self._wait_effects = WaitEffects(self)

    # -- steps and children -------------------------------------------------------------------------------------------

    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step: returns its value or raises what it raised."""
        return _value(self.drive(perform(self.bind(spec, args, kwargs), self.history)))

    async def acall(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async step."""
        call = self.bind(spec, args, kwargs)
        return await call_in_branch(self, perform(call, self.history), call)

    def defer(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], note: Spec) -> None:
        """Call a step at the end; `note` is the step that writes that down.

        Raises:
            StopRun: it has what a cluster cannot keep; at the end that would hide what the run has come to.
            UsageError, TypeError, NotStorable: as on one machine.
        """
        if spec.guard is not None:
            raise self.stop(StopRun(unguarded(spec.guard)))
        super().defer(spec, args, kwargs, note)

    def child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None = None) -> Any:
        """Call a sync workflow as a child."""
        assert id is None, "such a run is enqueued"
        refuse_locks(spec)
        return _value(self.drive(self._nested(self.bind(spec, args, kwargs))))

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None = None) -> Any:
        """Call an async workflow as a child."""
        assert id is None, "such a run is enqueued"
        refuse_locks(spec)
        call = self.bind(spec, args, kwargs)
        return await call_in_branch(self, self._nested(call), call)

    def _nested(self, call: Call) -> Program:
        def life() -> Generator[Any, Any, Ended | Failed]:
            ended: Ended | Failed = yield ChildRun(call)
            return ended

        return nested(call, self.history, life)

    # -- asking Temporal ----------------------------------------------------------------------------------------------

    def dispatch(self) -> CallDispatch:
        """What hands its calls to Temporal."""
        return CallDispatch(self, MOST_KEPT)

    def hand_over(self, effect: Execute | ChildRun, on_done: Callable[[Ticket], None] | None = None) -> Ticket:
        """Ask Temporal for a step or a child run.

        Raises:
            StopRun: the inputs cannot travel, or the run is to end.
        """
        self.check()
        return self._dispatch.hand_over(effect, on_done)

    def taken(self, effect: Execute | ChildRun, ticket: Ticket) -> Any:
        """What came of an operation that has ended, for the core.

        Raises:
            StopRun: it was broken off, since the run is to end.
        """
        return self._dispatch.answer(effect, self._result(ticket))

    # -- waits --------------------------------------------------------------------------------------------------------

    def wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        """Wait durably, blocking the function: the value, or what the wait raises."""
        return _value(self.drive(await_(self.bind_wait(spec, given, key), self.history, wait)))

    async def await_wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        """The same in a task."""
        call = self.bind_wait(spec, given, key)
        return await call_in_branch(self, await_(call, self.history, wait), call)

    # -- batches ------------------------------------------------------------------------------------------------------

    @property
    def root_id(self) -> str:
        """The id of the run that people know."""
        return self.root.id

    @property
    def state_file(self) -> None:
        """A cluster has none."""
        return

    def enqueue(self, spec: Spec, given: Sequence[Given], how: Enqueued) -> list[str]:
        """Start runs of another workflow that stand by themselves, each once in the lives of this run; returns ids."""
        calls = [queueing(self, spec, args, kwargs, how) for args, kwargs in given]
        return [_value(self.drive(decide(self, call, asked, how))) for call, asked in calls]

    async def aenqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        """The same without blocking the event loop."""
        call, asked = queueing(self, spec, args, kwargs, how)
        id: str = await call_in_branch(self, decide(self, call, asked, how), call)
        return id

    def tick(self) -> RunTick | None:
        """The tick that the run, or the one that it is a child of, was made for; None: none."""
        return self.command.tick

    def publish(self, name: str, packed: bytes, *, soon: bool) -> None:
        """Show how far the run is: all else that a workflow publishes is a step."""
        self.published.progress(packed, self.thread.now)

    def batch(self, calls: Iterator[Call], spec: Spec, options: MapOptions) -> Tally:
        """Run a sync step over many calls."""
        from perdure.engines.temporal.lockstep_map import LockstepMap, refuse_options

        refuse_options(options)

        placed = map(self.placing(lambda call: call), calls)
        return LockstepMap(self, spec, options).run(placed)

    async def abatch(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        bind: Callable[[Any], Call],
        spec: Spec,
        options: MapOptions,
    ) -> Tally:
        """Run an async step over many items."""
        from perdure.engines.runtime.async_map import AsyncMap
        from perdure.engines.temporal.lockstep_map import refuse_options

        refuse_options(options)
        refuse_own_loop(self.loop)
        return await AsyncMap(self, spec, options).run(items, self.placing(bind))

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Steps report from the worker that runs them."""

    @property
    def world(self) -> None:
        """The cluster makes the waits between attempts."""
        return None

    def notify_wait(self, wait: Wait) -> Callable[[], None]:
        """No call waits here between attempts: the cluster has them made."""
        raise AssertionError("the cluster makes the waits")

    def notify_map(self, name: str, tally: Tally, total: int | None) -> None:
        """A cluster has no observer."""

    def read(self, seq: int) -> StepRecord:
        """The record of that number."""
        return self.records.record(seq)

    def look_again(self, waited: float) -> float:
        """Each wait is as long as all before it, since Temporal notes every timer."""
        return max(waited, FIRST_LOOK)

    def reader(self) -> RunRecords:
        """Access to the records of this run."""
        return self.records

    # -- decisions ----------------------------------------------------------------------------------------------------

    def drive(self, program: Program) -> Any:
        """Carry a decision to its end, blocking the function.

        Raises:
            StopRun: the run cannot go on.
        """
        answer: Any = None
        try:
            while True:
                effect = program.send(answer)
                if isinstance(effect, Execute | ChildRun):
                    answer = self.taken(effect, self.hand_over(effect))
                elif isinstance(effect, WAIT_EFFECTS):
                    ticket, answer_of = self._wait_effects.begin(effect)
                    if ticket is not None:
                        self._result(ticket)
                    answer = answer_of()
                else:
                    answer = self.perform(effect)
        except StopIteration as end:
            return end.value
        except StopRun as stop:
            self.stop(stop)
            raise

    async def drive_in_task(self, program: Program, *, in_branch: bool = False) -> Any:
        """Carry a decision to its end in the current task, as `drive` does.

        Raises:
            UsageError: the loop is the workflow's own.
        """
        refuse_own_loop(self.loop)
        loop = cast(LockstepEventLoop, self.loop)
        answer: Any = None
        try:
            while True:
                effect = program.send(answer)
                if isinstance(effect, Execute | ChildRun):
                    handed: Execute | ChildRun = effect
                    future = loop.await_ticket(self.hand_over(handed))
                    self.executing += 1
                    try:
                        answer = self._dispatch.answer(effect, await future)
                    except asyncio.CancelledError:
                        self.check()  # if the run is to end, that is why
                        raise
                    finally:
                        self.executing -= 1
                elif isinstance(effect, WAIT_EFFECTS):
                    answer = await self._await_wait_effect(effect, loop)
                elif isinstance(effect, Settle):
                    answer = await settle(self, effect.call)
                elif isinstance(effect, WaitGivenUp):
                    await until_given_up(self)
                    answer = None
                elif isinstance(effect, Load):
                    answer = await self._load(effect)
                elif isinstance(effect, Save):
                    await self._save(effect)
                    answer = None
                else:
                    answer = self.perform(effect)
        except StopIteration as end:
            return end.value
        except StopRun as stop:
            self.stop(stop)
            raise

    async def _await_wait_effect(self, effect: Any, loop: LockstepEventLoop) -> Any:
        ticket, answer_of = self._wait_effects.begin(effect)
        if ticket is None:
            return answer_of()
        parked = isinstance(effect, Park)
        self.executing += not parked
        try:
            with self.order.parked() if parked and self.order is not None else nullcontext():
                await loop.await_ticket(ticket)
        except asyncio.CancelledError:
            self.check()  # if the run is to end, that is why
            if not isinstance(effect, CloseWait):
                self.waits.drop(effect.call)
            raise
        finally:
            self.executing -= not parked
        order = self.order
        if isinstance(effect, CloseWait) and order is not None and not order.alone() and self.branch() is not None:
            await order.pass_by(effect.call.seq)
        return answer_of()

    async def _load(self, effect: Load) -> Any:
        order = self.order
        if order is not None and not effect.peek and not order.may_pass(effect.seq) and self.branch() is not None:
            await order.turn(effect.seq)
        return self.perform(effect)

    async def _save(self, effect: Save) -> None:
        self.perform(effect)
        order = self.order
        if order is not None and not effect.beforehand and not order.alone() and self.branch() is not None:
            await order.pass_by(effect.rows[-1][SEQ])

    def perform(self, effect: Any) -> Any:
        """An effect that needs no waiting, where there is but one branch."""
        match effect:
            case Load():
                return self.records.record(effect.seq)
            case Save():
                self.records.add(effect.rows)
                self.records.drop(effect.drop, effect.aftermath)
                return None
            case Settle():
                return (effect.call,)
            case WaitGivenUp():
                return None
            case SaveAttempt():
                return None
            case MakeReady():
                return None  # the worker that executes the step does it
            case Admit():
                raise self.stop(StopRun(unguarded(effect.guard)))
        raise TypeError(f"an effect that is not known here: {effect!r}")

    def _result(self, ticket: Ticket) -> Any:
        try:
            return self.thread.result(ticket)
        except asyncio.CancelledError:
            self.check()  # if the run is to end, that is why
            raise

    # -- async --------------------------------------------------------------------------------------------------------

    async def run_async(self, call: Call) -> Any:
        """The workflow's function, if it is async; what it left running is over with it."""
        collected = False
        try:
            self.thread.on_interrupt = cast(asyncio.Task[Any], asyncio.current_task()).cancel
            with self.main_branch():
                value = await call.spec.fn(*call.args, **call.kwargs)
                self.unawaited.refuse()
                return value
        except GeneratorExit:
            collected = True  # by the worker, which remembers the run no more: no loop executes it
            raise
        finally:
            if not collected:
                await cancel_branches(self)


def _value(end: Any) -> Any:
    if type(end) is Failed:
        raise end.take()
    return end.value
