"""A workflow that runs on a cluster, on its function's thread: what its steps, batches and child workflows reach."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from contextlib import nullcontext
from typing import Any, cast

import msgspec

from perdure.core.execution.call import perform
from perdure.core.execution.call_end import Failed
from perdure.core.execution.effects import Admit, Execute, Load, Save, SaveAttempt, Settle, Wait, WaitGivenUp
from perdure.core.execution.history import History
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.identity import pack_strictly
from perdure.core.execution.inputs import is_storable
from perdure.core.execution.map_items import MapOptions, Tally
from perdure.core.execution.run import Ended, nested
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.waiting import CloseWait, Look, OpenWait, Park, SetAside, await_
from perdure.core.execution.waiting import Wait as DurableWait
from perdure.core.records import SEQ, Row, StepRecord
from perdure.core.redaction.printable import one_line
from perdure.core.waits import View
from perdure.engines.functions import queueing_call
from perdure.engines.interface import Enqueued, StepContext, here
from perdure.engines.runtime.base_scope import BaseScope
from perdure.engines.runtime.branches import call_in_branch, cancel_branches
from perdure.engines.runtime.deadline import Deadline
from perdure.engines.runtime.quiescence import settle, until_given_up
from perdure.engines.temporal.commands import carry_child, carry_step, outcome_of
from perdure.engines.temporal.encryption import blinded
from perdure.engines.temporal.event_loop import LockstepEventLoop
from perdure.engines.temporal.in_place import PlacedCall, Root, carry_in_place
from perdure.engines.temporal.lockstep_thread import LockstepThread, Ticket
from perdure.engines.temporal.mailbox import Mailbox
from perdure.engines.temporal.open_waits import OpenWaits, carry_note
from perdure.engines.temporal.payloads import Carry, RunCommand, RunTick, StepCommand, WaitNote, fits
from perdure.engines.temporal.published_values import PublishedValues
from perdure.engines.temporal.run_records import RunRecords
from perdure.engines.temporal.unsupported import refuse_locks, refuse_queueing, unguarded
from perdure.errors import NotStorable, StopRun

MOST_KEPT = 40_000_000
"""Bytes of records: a new record of Temporal's has to begin with all of them."""
MOST_RACES = 300
"""Notes about races that travel with one call, beside its inputs."""
FIRST_LOOK = 0.05
"""Seconds of the first wait for a branch that is on its way to its next call; each further one is as long as all before
it, since Temporal notes every timer."""

Program = Generator[Any, Any, Any]


class ChildRun:
    """Carry a child run. Answer: an Ended or a Failed."""

    def __init__(self, call: Call) -> None:
        self.call = call


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

    most_kept: float = MOST_KEPT

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
        self.root = Root(*command.root) if command.root is not None else Root(command.id, command.name, workflow_id)
        self.waits = waits or OpenWaits(Mailbox())
        self.published = published or PublishedValues(None)
        self.deadline = deadline
        self.command = command
        self.records = records
        self.thread = thread
        self.children = children
        self.loop: LockstepEventLoop | None = None

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

    def child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync workflow as a child."""
        refuse_locks(spec)
        return _value(self.drive(self._nested(self.bind(spec, args, kwargs))))

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async workflow as a child."""
        refuse_locks(spec)
        call = self.bind(spec, args, kwargs)
        return await call_in_branch(self, self._nested(call), call)

    def _nested(self, call: Call) -> Program:
        def life() -> Generator[Any, Any, Ended | Failed]:
            ended: Ended | Failed = yield ChildRun(call)
            return ended

        return nested(call, self.history, life)

    # -- waits --------------------------------------------------------------------------------------------------------

    def wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        """Wait durably, blocking the function: the value, or what the wait raises."""
        return _value(self.drive(await_(self.bind_wait(spec, given, key), self.history, wait)))

    async def await_wait(self, spec: Spec, given: bytes, key: bytes, wait: DurableWait) -> Any:
        """The same in a task."""
        call = self.bind_wait(spec, given, key)
        return await call_in_branch(self, await_(call, self.history, wait), call)

    def _wait_effect(self, effect: Any) -> tuple[Ticket | None, Callable[[], Any]]:
        """One effect of a wait: what has to be done by Temporal for it, and what the answer is then."""
        waits, call, wait = self.waits, effect.call, effect.wait
        waits.replaying = self.history.replaying
        match effect:
            case Look():
                return None, lambda: waits.look(call, wait, self.thread.now)
            case Park():
                self.check()
                ticket = self.thread.submit(lambda: waits.park(call, wait))
                ticket.idle = True
                return ticket, lambda: ticket.value
            case OpenWait():
                view = waits.look(call, wait, self.thread.now)
                note = waits.open(call, wait, view)
                opened = View(view.now, view.began, view.found, open=True)
                return self._note(note, effect.rows), lambda: opened
            case SetAside():
                line = f"run {self.id}: a signal does not fit {call.spec.owner}: {effect.reason}"
                logging.getLogger("perdure").warning("%s", one_line(line))
                note = waits.set_aside(effect)
                return self._note(note), lambda: waits.look(call, wait, self.thread.now)
            case CloseWait():
                closed = waits.close(effect, self.thread.now)
                if isinstance(closed, View):
                    return None, lambda: closed
                return self._note(closed, effect.rows, lambda: self._closed(effect)), lambda: None
        raise TypeError(f"an effect that is not known here: {effect!r}")

    def _note(self, note: WaitNote, rows: Iterable[Row] = (), then: Callable[[], None] | None = None) -> Ticket:
        self.check()
        self.records.add(rows)
        size = 0 if note.closed is None else len(note.closed.input) + len(note.closed.output)
        ticket = self.thread.submit(lambda: carry_note(note), size)
        ticket.noting, ticket.then = True, then
        return ticket

    def _closed(self, effect: CloseWait) -> None:
        self.records.add((self.history.number_again(effect.call, effect.row),))

    # -- batches ------------------------------------------------------------------------------------------------------

    @property
    def root_id(self) -> str:
        """The id of the run that people know."""
        return self.root.id

    @property
    def state_file(self) -> None:
        """A cluster has none."""
        return

    def enqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        """Start a run of another workflow that stands by itself, once in the lives of this run; returns its id."""
        id: str = _value(self.drive(perform(self._queueing(spec, args, kwargs, how), self.history)))
        return id

    async def aenqueue(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> str:
        """The same without blocking the event loop."""
        call = self._queueing(spec, args, kwargs, how)
        id: str = await call_in_branch(self, perform(call, self.history), call)
        return id

    def _queueing(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued) -> Call:
        """The call that stands for it in the records; it has no occurrence before it is claimed."""
        self.check()
        refuse_queueing(spec, how)
        call = queueing_call(spec, args, kwargs, how.id)
        (asked,) = call.args
        call.args, call.kwargs = asked.args, asked.kwargs
        self.admit(call.spec)
        step = call.spec = copy.copy(call.spec)
        step.in_place, step.signature = True, asked.spec.signature

        def start(*_: Any, **__: Any) -> str:
            key = blinded(self.command.blind, call.key)
            id = child_id(self.id, asked.spec.name, key, call.n) if how.id is None else how.id
            side: Any = cast(StepContext, here.get()).scope
            started: str = side.enqueue(asked, msgspec.structs.replace(how, id=id))
            return started

        step.fn = start
        branch = self.branch()
        return call if branch is None else branch.place(call)

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
                elif isinstance(effect, Look | OpenWait | Park | SetAside | CloseWait):
                    ticket, answer_of = self._wait_effect(effect)
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
        """Carry a decision to its end in the current task, as `drive` does."""
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
                        answer = self.answer(effect, await future)
                    except asyncio.CancelledError:
                        self.check()  # if the run is to end, that is why
                        raise
                    finally:
                        self.executing -= 1
                elif isinstance(effect, Look | OpenWait | Park | SetAside | CloseWait):
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
        ticket, answer_of = self._wait_effect(effect)
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
        if order is not None and not order.alone() and self.branch() is not None:
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
            case Admit():
                raise self.stop(StopRun(unguarded(effect.guard)))
        raise TypeError(f"an effect that is not known here: {effect!r}")

    def _result(self, ticket: Ticket) -> Any:
        try:
            return self.thread.result(ticket)
        except asyncio.CancelledError:
            self.check()  # if the run is to end, that is why
            raise

    def taken(self, effect: Execute | ChildRun, ticket: Ticket) -> Any:
        """What came of an operation that has ended, for the core.

        Raises:
            StopRun: it was broken off, since the run is to end.
        """
        return self.answer(effect, self._result(ticket))

    def hand_over(self, effect: Execute | ChildRun, on_done: Callable[[Ticket], None] | None = None) -> Ticket:
        """Ask Temporal for a step or a child run.

        Raises:
            StopRun: the inputs cannot travel, or the run is to end.
        """
        self.check()
        call = effect.call
        if self.records.size > self.most_kept:
            grown = NotStorable(
                f"what run {self.id} has done takes {self.records.size // 1_000_000} MB; a cluster keeps 50",
                "keep large results in files or an object store, or split the run into child workflows",
            )
            raise self.stop(StopRun(grown))
        if isinstance(effect, ChildRun):
            command = self._child_command(call)
            ticket = self.thread.submit(lambda: carry_child(command, call), len(call.input), on_done)
            ticket.bound = True
            return ticket
        self.records.add(self.history.with_notes(()))
        if call.spec.in_place:
            placed = PlacedCall(call, contextvars.copy_context(), self.id, self.root, self.published.put)
            return self.thread.submit(lambda: carry_in_place(placed), len(call.input), on_done)
        step = self._step_command(call, effect.parked)
        return self.thread.submit(lambda: carry_step(step, call.spec, self.command.blind), len(call.input), on_done)

    def answer(self, effect: Execute | ChildRun, result: Any) -> Any:
        """What Temporal's answer is to the core.

        Raises:
            StopRun: the time of the run was over before the step had ended.
        """
        if isinstance(effect, ChildRun):
            return result
        call = effect.call
        if result.late and self.deadline is not None:
            raise self.stop(StopRun(self.deadline.exceeded()))
        if result.tried:
            self.records.remember(call, result.tried)
        return outcome_of(result, call.spec)

    def _step_command(self, call: Call, parked: bool) -> StepCommand:
        spec, undo = call.spec, call.spec.undo
        if undo is not None and undo.guard is not None:
            raise self.stop(StopRun(unguarded(undo.guard)))
        return StepCommand(
            run_id=self.id,
            module=spec.module,
            name=spec.name,
            key=call.key,
            n=call.n,
            input=self.given(call),
            named=call.named,
            dead_after=self.command.dead_after,
            parked=parked,
            salt=call.salt,
            undo=None if undo is None else (undo.module, undo.name),
            undoes=self.records.identity(call.drop[0]) if call.drop else None,
            until=None if self.deadline is None else self.deadline.at,
            kind=spec.record_kind,
            qualname=spec.qualname,
            races=self.records.races(MOST_RACES),
            root="" if self.command.root is None else self.root.workflow_id,
            tick=self.command.tick,
        )

    def given(self, call: Call) -> bytes:
        """The inputs of a step as they travel.

        Raises:
            NotStorable: they cannot.
        """
        return fits(travelling(call), f"the input of {call.spec.owner}")

    def _child_command(self, call: Call) -> RunCommand:
        spec, mine = call.spec, self.command
        id = self.child_id(call)
        earlier = self.children.get(id)
        return RunCommand(
            id=id,
            module=spec.module,
            name=spec.name,
            key=call.key,
            n=call.n,
            input=fits(call.input, f"the input of {spec.owner}"),
            script=mine.script,
            dead_after=mine.dead_after,
            events=mine.events,
            created=self.thread.now,
            parent=self.id,
            carry=Carry(earlier) if earlier else None,
            timeout=spec.rules.timeout,
            deadline=self.deadline,
            qualname=spec.qualname,
            blind=mine.blind,
            tick=mine.tick,
            root=(self.root.id, self.root.workflow, self.root.workflow_id),
        )

    def child_id(self, call: Call) -> str:
        """The id of a child run, which everybody can read: nothing follows from it about its inputs."""
        return child_id(self.id, call.spec.name, blinded(self.command.blind, call.key), call.n)

    # -- async --------------------------------------------------------------------------------------------------------

    async def run_async(self, call: Call) -> Any:
        """The workflow's function, if it is async; what it left running is over with it."""
        try:
            self.thread.on_interrupt = cast(asyncio.Task[Any], asyncio.current_task()).cancel
            with self.main_branch():
                value = await call.spec.fn(*call.args, **call.kwargs)
                self.unawaited.refuse()
                return value
        finally:
            await cancel_branches(self)


def travelling(call: Call) -> bytes:
    """The inputs of a call as they travel to another machine.

    Raises:
        NotStorable: they cannot.
    """
    spec = call.spec
    first = call.args[0] if call.args else None
    if isinstance(first, type) or (spec.is_method and not is_storable(first)):
        raise NotStorable(
            f"{spec.owner} is a method of {first!r}, which cannot be stored; on a cluster it has to travel",
            "make it a function, or its class a dataclass",
        )
    return pack_strictly(call)


def _value(end: Any) -> Any:
    if type(end) is Failed:
        raise end.error
    return end.value
