"""How a running workflow hands a call to Temporal: the command of a step or of a child run, and what is answered."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any, Protocol

from perdure.core.execution.effects import Execute
from perdure.core.execution.history import History
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.identity import pack_strictly
from perdure.core.execution.inputs import is_storable
from perdure.core.execution.spec import Call
from perdure.engines.runtime.deadline import Deadline
from perdure.engines.temporal.commands import carry_child, carry_step, outcome_of
from perdure.engines.temporal.encryption import blinded
from perdure.engines.temporal.in_place import PlacedCall, Root, carry_in_place
from perdure.engines.temporal.lockstep_thread import LockstepThread, Ticket
from perdure.engines.temporal.payloads import Carry, RunCommand, StepCommand, fits
from perdure.engines.temporal.published_values import PublishedValues
from perdure.engines.temporal.run_records import RunRecords
from perdure.engines.temporal.unsupported import unguarded
from perdure.errors import NotStorable, StopRun

MOST_RACES = 300
"""Notes about races that travel with one call, beside its inputs."""


class ChildRun:
    """Carry a child run. Answer: an Ended or a Failed."""

    def __init__(self, call: Call) -> None:
        self.call = call


class DispatchingScope(Protocol):
    """What handing over needs of the run."""

    id: str
    history: History
    command: RunCommand
    records: RunRecords
    thread: LockstepThread
    children: dict[str, str]
    deadline: Deadline | None
    published: PublishedValues
    root: Root

    def stop(self, stop: StopRun) -> StopRun:
        """The run cannot go on."""


class CallDispatch:
    """Hands the calls of one run to Temporal.

    Args:
        scope: the run.
        most_kept: bytes of records with which the run takes no further call.
    """

    def __init__(self, scope: DispatchingScope, most_kept: float) -> None:
        self._scope = scope
        self._most_kept = most_kept

    def hand_over(self, effect: Execute | ChildRun, on_done: Callable[[Ticket], None] | None = None) -> Ticket:
        """Ask Temporal for a step or a child run.

        Raises:
            StopRun: the inputs cannot travel, or the records of the run are too large.
        """
        scope = self._scope
        call = effect.call
        if scope.records.size > self._most_kept:
            grown = NotStorable(
                f"what run {scope.id} has done takes {scope.records.size // 1_000_000} MB; a cluster keeps 50",
                "keep large results in files or an object store, or split the run into child workflows",
            )
            raise scope.stop(StopRun(grown))
        if isinstance(effect, ChildRun):
            command = self._child_command(call)
            ticket = scope.thread.submit(lambda: carry_child(command, call), len(call.input), on_done)
            ticket.bound = True
            return ticket
        scope.records.add(scope.history.with_notes(()))
        if call.spec.in_place:
            placed = PlacedCall(call, contextvars.copy_context(), scope.id, scope.root, scope.published.put)
            return scope.thread.submit(lambda: carry_in_place(placed), len(call.input), on_done)
        step = self._step_command(call, effect.parked)
        return scope.thread.submit(lambda: carry_step(step, call.spec, scope.command.blind), len(call.input), on_done)

    def answer(self, effect: Execute | ChildRun, result: Any) -> Any:
        """What Temporal's answer is to the core.

        Raises:
            StopRun: the time of the run was over before the step had ended.
        """
        if isinstance(effect, ChildRun):
            return result
        call = effect.call
        if result.late and self._scope.deadline is not None:
            raise self._scope.stop(StopRun(self._scope.deadline.exceeded()))
        if not result.ok:
            self._scope.records.last_failure = (call.spec.name, result.attempts, result.packed)
        if result.tried:
            self._scope.records.remember(call, result.tried)
        return outcome_of(result, call.spec)

    def _step_command(self, call: Call, parked: bool) -> StepCommand:
        scope, spec, undo = self._scope, call.spec, call.spec.undo
        if undo is not None and undo.guard is not None:
            raise scope.stop(StopRun(unguarded(undo.guard)))
        return StepCommand(
            run_id=scope.id,
            module=spec.module,
            name=spec.name,
            key=call.key,
            n=call.n,
            input=self.given(call),
            named=call.named,
            dead_after=scope.command.dead_after,
            parked=parked,
            salt=call.salt,
            undo=None if undo is None else (undo.module, undo.name),
            undoes=scope.records.identity(call.drop[0]) if call.drop else None,
            until=None if scope.deadline is None else scope.deadline.at,
            kind=spec.record_kind,
            qualname=spec.qualname,
            races=scope.records.races(MOST_RACES),
            root="" if scope.command.root is None else scope.root.workflow_id,
            tick=scope.command.tick,
        )

    def given(self, call: Call) -> bytes:
        """The inputs of a step as they travel.

        Raises:
            NotStorable: they cannot.
        """
        return fits(travelling(call), f"the input of {call.spec.owner}")

    def _child_command(self, call: Call) -> RunCommand:
        scope, spec = self._scope, call.spec
        mine = scope.command
        # Everybody can read the id: nothing follows from it about the inputs.
        id = child_id(scope.id, spec.name, blinded(mine.blind, call.key), call.n)
        earlier = scope.children.get(id)
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
            created=scope.thread.now,
            parent=scope.id,
            carry=Carry(earlier) if earlier else None,
            timeout=spec.rules.timeout,
            deadline=scope.deadline,
            qualname=spec.qualname,
            blind=mine.blind,
            tick=mine.tick,
            root=(scope.root.id, scope.root.workflow, scope.root.workflow_id),
            stall=mine.stall,
            told_by=mine.told_by or (mine.module, mine.qualname),
        )


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
