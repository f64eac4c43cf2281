"""A workflow that runs on a cluster, on its function's thread: what its steps, batches and child workflows reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from typing import Any, cast

from perdure.core.execution.branch import Branch, busy
from perdure.core.execution.call import Failed, perform
from perdure.core.execution.effects import Admit, Execute, Load, Save, SaveAttempt, Settle
from perdure.core.execution.effects import Branch as AskBranch
from perdure.core.execution.history import History
from perdure.core.execution.identity import pack_strictly
from perdure.core.execution.inputs import receiver
from perdure.core.execution.map_items import Tally
from perdure.core.execution.run import Ended, nested
from perdure.core.execution.spec import Call, Spec
from perdure.core.values.builtin_types import StandIn
from perdure.engines.interface import Concurrency, OnFailure
from perdure.engines.local.async_driver import BUSY_SECONDS, QUIET_TURNS
from perdure.engines.local.limits import Deadline
from perdure.engines.runtime.base_scope import Running
from perdure.engines.temporal.commands import carry_child, carry_step, outcome_of
from perdure.engines.temporal.event_loop import InnerLoop
from perdure.engines.temporal.lockstep_thread import Strand, Ticket
from perdure.engines.temporal.payloads import Carry, RunOrder, StepOrder, fits
from perdure.engines.temporal.run_records import Memory
from perdure.engines.temporal.unsupported import refuse_locks, unguarded
from perdure.errors import NotStorable, StopRun

MOST_KEPT = 40_000_000
"""Bytes of records: a new record of Temporal's has to begin with all of them."""
FIRST_LOOK = 0.05
"""Seconds of the first wait for a branch that is on its way to its next call; each further one is as long as all before
it, since Temporal notes every timer."""

Program = Generator[Any, Any, Any]


class ChildRun:
    """Carry a child run. Answer: an Ended or a Failed."""

    def __init__(self, call: Call) -> None:
        self.call = call


class ClusterScope(Running):
    """One run, while its workflow's function executes.

    Args:
        order: the run.
        history: its records, and what is claimed of them.
        memory: the records themselves.
        strand: the function's thread.
        children: the executions of unfinished child runs, by id.
        deadline: when the run is over, if that is bounded.
    """

    observer = None
    most_kept: float = MOST_KEPT

    def __init__(
        self,
        order: RunOrder,
        history: History,
        memory: Memory,
        strand: Strand,
        children: dict[str, str],
        deadline: Deadline | None = None,
    ) -> None:
        super().__init__(order.id, history)
        self.deadline = deadline
        self.order = order
        self.memory = memory
        self.strand = strand
        self.children = children
        self.loop: InnerLoop | None = None
        self.running: set[asyncio.Task[Any]] = set()
        self.settling: list[tuple[Call, Branch | None]] = []
        self.executing = 0
        self.closed = False

    # What batches of async steps, which all engines share, look for.

    @property
    def engine(self) -> ClusterScope:
        """Who carries decisions."""
        return self

    @property
    def tasks(self) -> ClusterScope:
        """Who carries them in tasks."""
        return self

    # -- steps and children -------------------------------------------------------------------------------------------

    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step: returns its value or raises what it raised."""
        return _value(self.drive_sync(perform(self.bind(spec, args, kwargs), self.history)))

    async def acall(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async step."""
        return await self._in_task(perform(self.bind(spec, args, kwargs), self.history))

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
        return _value(self.drive_sync(self._nested(self.bind(spec, args, kwargs))))

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async workflow as a child."""
        refuse_locks(spec)
        return await self._in_task(self._nested(self.bind(spec, args, kwargs)))

    def _nested(self, call: Call) -> Program:
        def life() -> Generator[Any, Any, Ended | Failed]:
            ended: Ended | Failed = yield ChildRun(call)
            return ended

        return nested(call, self.history, life)

    # -- batches ------------------------------------------------------------------------------------------------------

    def batch(
        self, calls: Iterator[Call], spec: Spec, concurrency: Concurrency, on_failure: OnFailure, total: int | None
    ) -> Tally:
        """Run a sync step over many calls, `concurrency` at a time."""
        from perdure.engines.temporal.lockstep_map import LockstepBatch, number

        placed = map(self.placing(lambda call: call), calls)
        return LockstepBatch(self, spec, number(concurrency), on_failure, total).run(placed)

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
        from perdure.engines.temporal.lockstep_map import number

        return await TaskBatch(self, spec, number(concurrency), on_failure, total).run(items, self.placing(bind))

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Steps report from the worker that runs them."""

    def reader(self) -> Memory:
        """Access to the records of this run."""
        return self.memory

    # -- decisions ----------------------------------------------------------------------------------------------------

    def drive_sync(self, program: Program) -> Any:
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
                else:
                    answer = self.perform(effect)
        except StopIteration as end:
            return end.value
        except StopRun as stop:
            self.stop(stop)
            raise

    async def drive(self, program: Program, scope: object = None) -> Any:
        """Carry a decision to its end in the current task, as `drive_sync` does."""
        loop = cast(InnerLoop, self.loop)
        answer: Any = None
        try:
            while True:
                effect = program.send(answer)
                if isinstance(effect, Execute | ChildRun):
                    handed: Execute | ChildRun = effect
                    future = loop.await_ticket(lambda on_done, it=handed: self.hand_over(it, on_done))  # type: ignore[misc]
                    self.executing += 1
                    try:
                        answer = self.answer(effect, await future)
                    except asyncio.CancelledError:
                        self.check()  # if the run is to end, that is why
                        raise
                    finally:
                        self.executing -= 1
                elif isinstance(effect, Settle):
                    answer = await self._settle(effect)
                elif isinstance(effect, AskBranch):
                    answer = self.branch()
                else:
                    answer = self.perform(effect)
        except StopIteration as end:
            return end.value
        except StopRun as stop:
            self.stop(stop)
            raise

    async def _in_task(self, program: Program) -> Any:
        task = asyncio.current_task()
        assert task is not None
        if self.closed:
            raise asyncio.CancelledError  # the workflow has returned without waiting for this branch
        nested_call = task in self.running
        self.running.add(task)
        try:
            return _value(await self.drive(program))
        finally:
            if not nested_call:
                self.running.discard(task)

    def perform(self, effect: Any) -> Any:
        """An effect that needs no waiting, where there is but one branch."""
        match effect:
            case Load():
                return self.memory.record(effect.seq)
            case Save():
                self.memory.add(effect.rows)
                self.memory.drop(effect.drop, None)
                return None
            case Settle():
                return (effect.call,)
            case AskBranch():
                return self.branch()
            case SaveAttempt():
                return None
            case Admit():
                raise self.stop(StopRun(unguarded(effect.guard)))
        raise TypeError(f"an effect that nobody performs: {effect!r}")

    def _result(self, ticket: Ticket) -> Any:
        try:
            return self.strand.result(ticket)
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
        if self.memory.size > self.most_kept:
            grown = NotStorable(
                f"what run {self.id} has done takes {self.memory.size // 1_000_000} MB; a cluster keeps 50",
                "keep large results in files or an object store, or split the run into child workflows",
            )
            raise self.stop(StopRun(grown))
        if isinstance(effect, ChildRun):
            order = self._child_order(call)
            ticket = self.strand.submit(lambda: carry_child(order, call), len(call.input), on_done)
            ticket.bound = True
            return ticket
        step = self._step_order(call, effect.parked)
        return self.strand.submit(lambda: carry_step(step, call.spec), len(call.input), on_done)

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
            self.memory.remember(call, result.tried)
        return outcome_of(result, call.spec)

    def _step_order(self, call: Call, parked: bool) -> StepOrder:
        spec, undo = call.spec, call.spec.undo
        if undo is not None and undo.guard is not None:
            raise self.stop(StopRun(unguarded(undo.guard)))
        return StepOrder(
            run_id=self.id,
            module=spec.main,
            name=spec.name,
            key=call.key,
            n=call.n,
            input=self.given(call),
            named=call.named,
            dead_after=self.order.dead_after,
            parked=parked,
            salt=call.salt,
            undo=None if undo is None else (undo.main, undo.name),
            undoes=self.memory.identity(call.drop[0]) if call.drop else None,
            until=None if self.deadline is None else self.deadline.at,
            kind=spec.record_kind,
        )

    def given(self, call: Call) -> bytes:
        """The inputs of a step as they travel.

        Raises:
            NotStorable: they cannot.
        """
        return fits(travelling(call), f"the input of {call.spec.owner}")

    def _child_order(self, call: Call) -> RunOrder:
        spec, mine = call.spec, self.order
        id = self.child_id(call)
        earlier = self.children.get(id)
        return RunOrder(
            id=id,
            module=spec.main,
            name=spec.name,
            key=call.key,
            n=call.n,
            input=fits(call.input, f"the input of {spec.owner}"),
            script=mine.script,
            dead_after=mine.dead_after,
            events=mine.events,
            created=self.strand.now,
            parent=self.id,
            carry=Carry(earlier) if earlier else None,
            timeout=spec.rules.timeout,
            deadline=self.deadline,
        )

    # -- async --------------------------------------------------------------------------------------------------------

    async def _settle(self, effect: Settle) -> tuple[Call, ...]:
        """Let the other branches claim what is theirs, until all have come to rest or nothing is left to claim."""
        entry = (effect.call, self.branch())
        self.settling.append(entry)
        try:
            await self._rest(effect.call.spec.name)
            self.check()  # another branch may have come to rest first, and stopped the run
            return tuple(call for call, _ in self.settling)
        finally:
            self.settling.remove(entry)

    async def _rest(self, name: str) -> None:
        history, strand = self.history, self.strand
        seen, since = history.claims, strand.now
        while history.unsettled(name):
            for _ in range(QUIET_TURNS):
                await asyncio.sleep(0)
            if history.claims != seen:
                seen, since = history.claims, strand.now
                continue
            waited, patience = strand.now - since, self._patience()
            if waited >= patience:
                return
            await asyncio.sleep(min(max(waited, FIRST_LOOK), patience))

    def _patience(self) -> float:
        """How many seconds without a claim are rest."""
        if self.executing:
            return float("inf")  # a step that runs will end, and its branch go on to other calls
        resting = [branch for _, branch in self.settling if branch is not None]
        return BUSY_SECONDS if self.main is not None and busy(self.main.living, resting) else 0.0

    async def run_async(self, call: Call) -> Any:
        """The workflow's function, if it is async; what it left running is over with it."""
        try:
            self.strand.on_interrupt = cast(asyncio.Task[Any], asyncio.current_task()).cancel
            with self.main_branch():
                return await call.spec.fn(*call.args, **call.kwargs)
        finally:
            self.closed = True
            while self.running:
                branches = list(self.running)
                for branch in branches:
                    branch.cancel()
                await asyncio.wait(branches)


def travelling(call: Call) -> bytes:
    """The inputs of a call as they travel to another machine.

    Raises:
        NotStorable: they cannot.
    """
    spec = call.spec
    first = call.args[0] if call.args else None
    stands_in = spec.is_method and type(receiver(first)) is StandIn
    if isinstance(first, type) or stands_in:
        raise NotStorable(
            f"{spec.owner} is a method of {first!r}, which cannot be stored; on a cluster it has to travel",
            "make it a function, or its class a dataclass",
        )
    return pack_strictly(call)


def _value(end: Any) -> Any:
    if type(end) is Failed:
        raise end.error
    return end.value
