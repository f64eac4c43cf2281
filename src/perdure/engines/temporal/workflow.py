"""The one Temporal workflow: carries a run of whatever workflow of perdure's it is named after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from perdure.core.exceptions import capture
from perdure.core.execution.call_end import Failed
from perdure.core.execution.effects import Outcome
from perdure.core.execution.history import History
from perdure.core.execution.recorded_inputs import InputsOfBefore
from perdure.core.execution.run import live
from perdure.core.execution.run_effects import Begin, Body, End, Forget, Recall, Start, Taken, Unended, Unwind
from perdure.core.execution.run_refusals import cancelled
from perdure.core.execution.spec import Call
from perdure.core.records import Place, RunRecord, RunStatus
from perdure.core.run_notes import left_behind
from perdure.engines import registry
from perdure.engines.interface import here
from perdure.engines.runtime.deadline import Deadline, earlier
from perdure.engines.runtime.tracebacks import from_user_code
from perdure.engines.temporal.awaited_runs import tell
from perdure.engines.temporal.child_waits import ChildAsks, ChildWaits
from perdure.engines.temporal.cleanup_scope import CleanupScope
from perdure.engines.temporal.commands import task_timeout
from perdure.engines.temporal.continue_as_new import next_command, shortened, take_over
from perdure.engines.temporal.event_loop import LockstepEventLoop
from perdure.engines.temporal.lockstep_thread import LockstepThread, Unwound
from perdure.engines.temporal.mailbox import Mailbox
from perdure.engines.temporal.messages import ENDED, ChildAsk, Message, RunEnded, message_of
from perdure.engines.temporal.open_waits import OpenWaits
from perdure.engines.temporal.payloads import (
    Letter,
    Published,
    RunCommand,
    RunFailed,
    decode,
    encode,
    fits,
)
from perdure.engines.temporal.published_values import PublishedValues
from perdure.engines.temporal.run_notices import RunNotices
from perdure.engines.temporal.run_records import RunRecords
from perdure.engines.temporal.scope import ClusterScope
from perdure.errors import Cancelled, DeadlineExceeded, OtherInputs, PerdureError, RunError, StopRun

LONGEST_MESSAGE = 1_000
"""Characters of an error that Temporal shows."""
PATIENCE = 0.7
"""How much of the time that a worker may hold a workflow's task its function may compute between two steps."""
LONGEST_RECORD = 45_000
"""Events that a record may have whose end cannot be left to a new one; at 51,200 Temporal would end the run."""


@workflow.defn(dynamic=True, sandboxed=False)
class DynamicWorkflow:
    """Carries one execution of a run."""

    def __init__(self) -> None:
        self._mailbox = Mailbox()
        self._execution: _Execution | None = None

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> bytes:
        """From its start, or from where an earlier execution stopped, to its end."""
        data = workflow.payload_converter().from_payload(args[0].payload, bytes)
        self._execution = _Execution(decode(data, RunCommand), self._mailbox)
        return await self._execution.carry()

    @workflow.signal(dynamic=True)
    def signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Something is sent to the run: to be taken by a wait, or by another run that has to do with it."""
        payloads = [one.payload for one in args]
        message = message_of(name, payloads)
        letter = self._mailbox.receive(name, payloads, workflow.time()) if message is None else None
        if message is not None:
            self._mailbox.put(message)
        if self._execution is not None:
            self._execution.received(letter or message)


class _Execution:
    def __init__(self, command: RunCommand, mailbox: Mailbox) -> None:
        self._command = command
        self._records = RunRecords()
        self._mailbox = mailbox
        self._waits = OpenWaits(mailbox) if command.root is None else ChildWaits(mailbox, command.id, command.root[2])
        self._asks = ChildAsks(self._waits)
        self._published = PublishedValues(None if command.root is None else command.root[2])
        self._children: dict[str, str] = {}
        # Whose functions the steps are, as the workflow's function has called them.
        self._places = {name: Place(module, qualname) for name, (module, qualname) in command.places.items()}
        self._before = 0
        self._epoch = 0
        self._deadline = command.deadline
        self._cancelled = False
        self._unwound = False
        self._notices = RunNotices(command)
        self._scope: ClusterScope | None = None

    async def carry(self) -> bytes:
        """The packed result.

        Raises:
            ApplicationError: the run has failed; its details say how.
            asyncio.CancelledError: it was cancelled, and has made its clean-ups.
        """
        work = asyncio.create_task(self._carry())
        while True:
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                # Of a workflow that is only dropped from a worker's cache, all tasks are cancelled, not just this one.
                if work.done() or work.cancelling() or self._cancelled:
                    raise
                self._cancelled = True
                self._interrupt(cancelled(self._command.id))

    def received(self, what: Letter | Message | None) -> None:
        """A signal has come."""
        match what:
            case Letter():
                self._waits.received(what)
            case ChildAsk():
                self._asks.received()
            case RunEnded():
                self._waits.run_ended(what.run)
            case Published():
                self._publish()

    def _bound(self) -> None:
        """From now on its time counts."""
        if self._command.timeout is not None and not self._command.ending:
            own = Deadline(
                workflow.time() + self._command.timeout,
                self._command.timeout,
                self._command.id,
                f"workflow {self._command.name!r}",
            )
            self._deadline = earlier(own, self._deadline)

    def _publish(self) -> None:
        while self._mailbox.published:
            self._published.put(self._mailbox.published.pop(0))

    async def _delay(self) -> None:
        """A run that is not to begin yet was woken by a signal: it waits on."""
        until = self._command.not_before
        while until is not None and workflow.time() < until and not self._cancelled:
            with suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._cancelled, timeout=until - workflow.time())

    async def _carry(self) -> bytes:
        try:
            self._publish()
            await self._delay()
            self._bound()
            self._notices.begin()
            await self._take_over()
            self._asks.begin()
            call = self._call()
            end = await self._drive(live(call, self._start(call)))
            if isinstance(end, Failed):
                if self._cancelled and isinstance(end.error, Cancelled):
                    await self._leave("cancelled", None)
                    raise asyncio.CancelledError
                await self._fail(end.error, stopped=False)
            output: bytes = fits(end.payload, f"the result of {call.spec.owner}")
            await self._leave("done", output)
            return output
        except StopRun as stop:
            await self._fail(stop.error, stopped=True)
        except PerdureError as error:
            await self._fail(error, stopped=True)

    async def _leave(self, status: RunStatus, output: bytes | None) -> None:
        """The run has ended: tell who has to do with it."""
        await self._waits.leave()
        self._published.show()
        await self._published.leave()
        told = RunEnded(self._command.id, status, workflow.time(), output)
        while self._mailbox.awaiting:
            waiting, self._mailbox.awaiting = self._mailbox.awaiting, {}
            await asyncio.gather(*(tell(each, ENDED, encode(told)) for each in waiting))
        await self._notices.end(status, output, self._records, self._before)

    async def _take_over(self) -> None:
        """Begin with what an earlier execution of the run has done."""
        if (carry := self._command.carry) is not None:
            left = await take_over(self._command, carry, self._records, self._mailbox, self._waits, self._children)
            self._epoch, self._before = left

    def _call(self) -> Call:
        command = self._command
        spec = registry.find("workflow", Place(command.module, command.qualname), command.name, command.input)
        args, kwargs = spec.arguments(command.input)
        try:
            spec.signature.bind(tuple(args), kwargs)
        except TypeError as misfit:
            raise OtherInputs(
                f"{spec.owner} does not take the inputs of run {command.id} any more: {misfit}",
                "let it take them again (a new parameter needs a default), or start a new run",
            ) from None
        return Call(spec, tuple(args), kwargs, command.input, command.key)

    def _start(self, call: Call) -> Start:
        command = self._command
        return Start(command.script, command.script, command.name, call.key, call.input, command.id, command.id)

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
                    answer = self._ending(effect) or await self._body(effect)
                case Unended():
                    answer = ()
                case Unwind():
                    answer = await self._unwind(effect)
                case Forget():
                    self._records.drop(effect.seqs, effect.aftermath)
                case End():
                    self._records.add(effect.rows)
                    self._records.drop(effect.forget, effect.aftermath)
                    if effect.left:
                        self._published.remark(self._command.id, left_behind(self._command.id, effect.left))
                case _:
                    raise TypeError(f"an effect that is not known here: {effect!r}")

    def _record(self, start: Start) -> RunRecord:
        now = workflow.time()
        return RunRecord(
            rid=0,
            id=self._command.id,
            script=start.script,
            path=start.path,
            workflow=start.workflow,
            key=start.key,
            named=True,
            parent=None,
            status="running",
            holder=None,
            epoch=self._epoch,
            input=start.input,
            output=None,
            created=self._command.created,
            started=now,
            ended=None,
            crc=0,
        )

    def _history(self) -> History:
        records = self._records
        index, before = records.index(), self._before
        history = History(0, self._command.id, index, exempt=records.exempt, epoch=self._epoch, before=before)
        history.inputs_of_before = InputsOfBefore(lambda _, seq: records.record(seq))
        history.resumed = self._command.carry is not None
        return history

    def _ending(self, effect: Body) -> Outcome | None:
        """How the function has ended, if that was in an earlier execution, or before it could begin."""
        error: Exception
        if self._command.ending:
            error = capture.restore(capture.decode(self._command.ending), main=effect.call.spec.module)
        elif self._cancelled:
            error = cancelled(self._command.id)
        else:
            return None
        return Outcome(None, error, workflow.time(), 0.0)

    async def _body(self, effect: Body) -> Outcome:
        """Call the workflow's function."""
        command = self._command
        thread = self._thread(command.events, lambda: self._renew(effect.history))
        scope = ClusterScope(
            command,
            effect.history,
            self._records,
            thread,
            self._children,
            self._deadline,
            self._waits,
            workflow.info().workflow_id,
            self._published,
        )
        scope.places = self._places
        scope.is_async = effect.call.spec.is_async
        self._scope = scope
        over = asyncio.create_task(self._expire(self._deadline)) if self._deadline is not None else None
        showing = asyncio.create_task(self._published.watch(thread))
        watching = asyncio.create_task(self._notices.watch(thread))
        started = workflow.time()
        token = here.set(scope)
        try:
            value, error = await self._call_function(effect.call, scope)
        finally:
            here.reset(token)
            self._scope = None
            showing.cancel()
            watching.cancel()
            if over is not None:
                over.cancel()
        await thread.quiesce()
        return Outcome(value, error, started, workflow.time() - started)

    async def _call_function(self, call: Call, scope: ClusterScope) -> tuple[Any, Exception | None]:
        """What the workflow's function has returned, or how the run ends instead."""
        try:
            value = await scope.thread.carry(lambda: _function(call, scope))
            scope.check()
            return value, None
        except Exception as error:  # noqa: BLE001  the workflow's own error, for the core to judge
            return None, scope.ending or from_user_code(error)
        except BaseException as leaving:
            if scope.thread.dropped:
                raise
            if scope.ending is not None:
                return None, scope.ending
            scope.check()  # what stopped it first: a task group wraps that into a group of its own
            if not isinstance(leaving, SystemExit | KeyboardInterrupt | Unwound | BaseExceptionGroup):
                raise
            raise RunError(
                f"workflow {call.spec.name!r} ended itself with {leaving!r}", "let it return, or raise an exception"
            ) from None

    def _thread(self, most_events: int, renew: Callable[[], NoReturn]) -> LockstepThread:
        longest = PATIENCE * task_timeout(self._command.dead_after).total_seconds()
        return LockstepThread(longest, most_events, lambda: self._records.size + self._mailbox.size, renew)

    async def _expire(self, deadline: Deadline) -> None:
        """End the run when its time is over."""
        await asyncio.sleep(max(deadline.at - workflow.time(), 0.0))
        self._interrupt(deadline.exceeded())

    def _interrupt(self, reason: PerdureError) -> None:
        """The function is to be left, wherever it is; if it is over already, that changes nothing."""
        if self._scope is not None:
            self._scope.stop(StopRun(reason))
            self._scope.thread.interrupt(bounded=isinstance(reason, DeadlineExceeded))

    async def _unwind(self, effect: Unwind) -> list[str]:
        """Clean up what the run has left."""
        self._unwound = True
        # A child run that has failed is closed: its parent cannot make its clean-ups later.
        final = effect.final or self._command.parent is not None
        # A new execution would not know that this one was cancelled.
        most_events = LONGEST_RECORD if self._cancelled else self._command.events
        thread = self._thread(most_events, lambda: self._renew_cleaning(effect))
        scope = CleanupScope(self._command, effect.history, self._records, thread, self._children)
        scope.places = self._places
        watching = asyncio.create_task(self._notices.watch(thread))
        try:
            missed: list[str] = await thread.carry(lambda: scope.clean(ok=effect.ok, final=final))
        finally:
            watching.cancel()
        return missed

    def _renew_cleaning(self, effect: Unwind) -> NoReturn:
        """The same while the clean-ups are made; a function that has failed is not called again for them."""
        if effect.cause is not None:
            self._records.drop(effect.cause.records, effect.cause.aftermath)
        self._renew(effect.history, shortened(effect.fault, beside=len(self._command.input)))

    def _renew(self, history: History, ending: bytes = b"") -> NoReturn:
        """Temporal's record of this execution is full: go on in a new one."""
        command, execution = self._command, workflow.info().run_id
        known = (self._before, self._places, self._deadline)
        data = next_command(command, execution, history, self._records, *known, ending)
        if command.root is None:
            self._published.show()
        workflow.continue_as_new(data, memo=dict(workflow.memo()))

    async def _fail(self, error: Exception, *, stopped: bool) -> NoReturn:
        fault = capture.to_fault(error)
        packed = shortened(capture.encode(fault))
        records = self._records
        # As on one machine, what the workflow has seen after its last call is not history if the run fails.
        await self._leave("failed", packed)
        failed = RunFailed(packed, stopped, records.failures(), records.spared(), self._unwound, records.races())
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
        value = call.spec.fn(*call.args, **call.kwargs)
        scope.unawaited.refuse()
        return value
    loop = scope.loop = LockstepEventLoop(scope.thread)
    return loop.run(scope.run_async(call))
