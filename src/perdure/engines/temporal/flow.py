"""The one Temporal workflow: carries a run of whatever workflow of perdure's it is named after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from perdure.core import codec, faults
from perdure.core.call import Failed
from perdure.core.effects import Outcome
from perdure.core.history import History
from perdure.core.records import RunRecord
from perdure.core.run import Begin, Body, End, Forget, Recall, Start, Taken, live
from perdure.core.spec import Call
from perdure.engines import registry
from perdure.engines.scope import here
from perdure.engines.temporal.inner_loop import InnerLoop
from perdure.engines.temporal.memory import Memory
from perdure.engines.temporal.orders import recall, task_timeout
from perdure.engines.temporal.scope import ClusterScope
from perdure.engines.temporal.strand import Strand, Unwound
from perdure.engines.temporal.wire import Carry, RunFailed, RunOrder, decode, encode, fits
from perdure.engines.tracebacks import from_user_code
from perdure.errors import OtherInputs, PerdureError, RunError, StopRun

LONGEST_MESSAGE = 1_000
"""Characters of an error that Temporal shows."""
PATIENCE = 0.7
"""How much of the time that a worker may hold a workflow's task its function may compute between two steps."""
LARGEST_FAULT = 1_000_000
"""Bytes. One that is larger is told in short."""


@workflow.defn(dynamic=True, sandboxed=False)
class Flow:
    """Carries one execution of a run."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> bytes:
        """From its start, or from where an earlier execution stopped, to its end."""
        data = workflow.payload_converter().from_payload(args[0].payload, bytes)
        return await _Execution(decode(data, RunOrder)).carry()


class _Execution:
    def __init__(self, order: RunOrder) -> None:
        self._order = order
        self._memory = Memory()
        self._children: dict[str, str] = {}
        self._before: int | None = None
        self._scope: ClusterScope | None = None

    async def carry(self) -> bytes:
        """The packed result.

        Raises:
            ApplicationError: the run has failed; its details say how.
        """
        try:
            await self._take_over()
            call = self._call()
            end = await self._drive(live(call, self._start(call)))
            if isinstance(end, Failed):
                self._fail(end.error, stopped=False)
            return fits(end.payload, f"the result of {call.spec.owner}")
        except StopRun as stop:
            self._fail(stop.error, stopped=True)
        except PerdureError as error:
            self._fail(error, stopped=True)

    async def _take_over(self) -> None:
        """Begin with what an earlier execution of the run has done."""
        carry = self._order.carry
        if carry is None:
            return
        first: int | None = 0
        while first is not None:
            portion = await recall(self._order, carry, first)
            self._memory.take_over(portion.records, portion.exempt)
            self._children.update(portion.children)
            first = portion.more
        count = len(self._memory.records)
        self._before = count if carry.before is None else carry.before
        if carry.accepted:
            self._memory.drop((), (1, count))

    def _call(self) -> Call:
        order = self._order
        spec = registry.find("workflow", order.module, order.name)
        args, kwargs = codec.unpack_inputs(order.input, spec.parameter_plans(), owner=spec.owner)
        try:
            spec.signature.bind(tuple(args), kwargs)
        except TypeError as misfit:
            raise OtherInputs(
                f"{spec.owner} does not take the inputs of run {order.id} any more: {misfit}",
                "let it take them again (a new parameter needs a default), or start a new run",
            ) from None
        return Call(spec, tuple(args), kwargs, order.input, order.key)

    def _start(self, call: Call) -> Start:
        order = self._order
        return Start(order.script, order.script, order.name, call.key, call.input, order.id, order.id)

    async def _drive(self, life: Any) -> Any:
        answer: Any = None
        while True:
            try:
                effect = life.send(answer)
            except StopIteration as end:
                return end.value
            answer = None
            match effect:
                case Begin():
                    answer = Taken(self._record(effect.start), resumed=True)
                case Recall():
                    answer = self._history()
                case Body():
                    answer = await self._body(effect)
                case Forget():
                    self._memory.drop(effect.seqs, effect.aftermath)
                case End():
                    self._memory.add(effect.rows)
                    self._memory.drop(effect.forget, effect.aftermath)
                case _:
                    raise TypeError(f"an effect that nobody performs: {effect!r}")

    def _record(self, start: Start) -> RunRecord:
        now = workflow.time()
        return RunRecord(
            rid=0,
            id=self._order.id,
            script=start.script,
            path=start.path,
            workflow=start.workflow,
            key=start.key,
            named=True,
            parent=None,
            status="running",
            holder=None,
            epoch=0,
            input=start.input,
            output=None,
            created=self._order.created,
            started=now,
            ended=None,
            crc=0,
        )

    def _history(self) -> History:
        memory = self._memory
        return History(0, self._order.id, memory.index(), exempt=memory.exempt, before=self._before or 0)

    async def _body(self, effect: Body) -> Outcome:
        """Call the workflow's function."""
        call, order = effect.call, self._order
        strand = Strand(
            PATIENCE * task_timeout(order.dead_after).total_seconds(),
            order.events,
            lambda: self._memory.size,
            self._renew,
        )
        scope = self._scope = ClusterScope(order, effect.history, self._memory, strand, self._children)
        started = workflow.time()
        token = here.set(scope)
        try:
            value = await strand.carry(lambda: _function(call, scope))
            scope.check()
            return Outcome(value, None, started, workflow.time() - started)
        except Exception as error:  # noqa: BLE001  the workflow's own error, for the core to judge
            return Outcome(None, from_user_code(error), started, workflow.time() - started)
        except StopRun:
            scope.check()  # what stopped it first: a task group wraps that into a group of its own
            raise
        except (SystemExit, KeyboardInterrupt, Unwound, BaseExceptionGroup) as leaving:
            scope.check()
            raise RunError(
                f"workflow {order.name!r} ended itself with {leaving!r}", "let it return, or raise an exception"
            ) from None
        finally:
            here.reset(token)

    def _renew(self) -> NoReturn:
        """Temporal's record of this execution is full: go on in a new one."""
        scope = self._scope
        assert scope is not None
        pending = [(row[2], row[3], row[4]) for row in (failure.row for failure in scope.history.pending)]
        carry = Carry(
            workflow.info().run_id,
            kept=[*self._memory.failures(), *pending],
            exempt=self._memory.spared(),
            before=self._before or 0,
        )
        workflow.continue_as_new(encode(msgspec.structs.replace(self._order, carry=carry)))

    def _fail(self, error: Exception, *, stopped: bool) -> NoReturn:
        fault = faults.to_fault(error)
        packed = faults.encode(fault)
        if len(packed) > LARGEST_FAULT:
            packed = faults.encode(
                faults.Fault(
                    module=fault.module, qualname=fault.qualname, bases=fault.bases, message=fault.message[:100_000]
                )
            )
        failed = RunFailed(packed, stopped, self._memory.failures(), self._memory.spared())
        raise ApplicationError(
            fault.message[:LONGEST_MESSAGE],
            encode(failed),
            type=fault.name,
            non_retryable=True,
            category=ApplicationErrorCategory.BENIGN,
        ) from None


def _function(call: Call, scope: ClusterScope) -> Any:
    """The workflow's function, on its own thread."""
    if not call.spec.is_async:
        return call.spec.fn(*call.args, **call.kwargs)
    loop = scope.loop = InnerLoop(scope.strand)
    return loop.run(scope.run_async(call))
