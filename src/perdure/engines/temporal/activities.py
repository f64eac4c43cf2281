"""The worker's side of a step: one attempt, the policy's verdict on it, and the answer to Temporal."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from random import random
from time import monotonic, time
from typing import Any, NoReturn

import msgspec
from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from perdure.alerts.alert import Alert
from perdure.core.exceptions import capture
from perdure.core.exceptions.program_faults import suspicion
from perdure.core.execution.attempts import Series
from perdure.core.execution.effects import Outcome
from perdure.core.execution.identity import refuse_change
from perdure.core.execution.result_check import ensure
from perdure.core.execution.spec import Call, Spec
from perdure.core.policies.retry import Again
from perdure.core.records import CLEAN_UPS, Place, called_step
from perdure.engines import registry
from perdure.engines.events import AttemptStarted, Observer, RetryScheduled, attempt_ended
from perdure.engines.interface import StepContext, here
from perdure.engines.runtime.error_bodies import keep_bodies, with_bodies_kept
from perdure.engines.runtime.threads import Pool
from perdure.engines.runtime.timeouts import bounded, broken_off, timed_out
from perdure.engines.runtime.tracebacks import from_user_code
from perdure.engines.temporal.alert_activities import AlertActivities
from perdure.engines.temporal.awaited_runs import LOOK
from perdure.engines.temporal.commands import RECALL
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.courier import DELIVER, Sender
from perdure.engines.temporal.encryption import is_unread, key_ring
from perdure.engines.temporal.event_history import EventHistory
from perdure.engines.temporal.history_reader import read_history
from perdure.engines.temporal.in_place import IN_PLACE
from perdure.engines.temporal.open_waits import NOTE
from perdure.engines.temporal.payloads import (
    PORTION,
    Carry,
    Progress,
    Ran,
    StepCommand,
    decode,
    encode,
    encode_ran,
    fits,
)
from perdure.engines.temporal.placed_calls import LONGEST_NOTE, make, note_of
from perdure.engines.temporal.run_ends import look_at
from perdure.engines.temporal.run_notices import NOTICE, RunNotice
from perdure.engines.temporal.schedules import take_turn
from perdure.engines.temporal.step_side import StepSide
from perdure.engines.temporal.ticker import TURN
from perdure.errors import ArgumentChanged, NotStorable, PerdureError, ProcessDied, StepTimeout

DEATHS = 10
"""So many workers may die under one call before it counts as its own fault."""
NOTED = 200
"""Failed attempts that are remembered with what they said."""


class StepActivities:
    """The activities of a worker.

    Args:
        client: the connection to the cluster.
        cluster: whose it is.
    """

    def __init__(self, client: Client, cluster: Cluster) -> None:
        self._client = client
        self._cluster = cluster
        self._encrypted = bool(key_ring(client))
        self.alerts = AlertActivities(client, cluster)
        self._pool = Pool()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._histories = lru_cache(maxsize=4)(lambda id, carry: asyncio.ensure_future(self._read(id, carry)))
        self.observer: Observer | None = None

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker is to be given."""

        @activity.defn(dynamic=True)
        async def step(args: Sequence[RawValue]) -> bytes:
            command = decode(activity.payload_converter().from_payload(args[0].payload, bytes), StepCommand)
            return await self.step(command)

        @activity.defn(name=RECALL)
        async def recall(id: str, first: int, carry: bytes) -> bytes:
            return await self.recall(id, first, carry)

        @activity.defn(name=IN_PLACE)
        async def in_place(number: int) -> bytes:
            return await make(number, self.attempt, self.observer, self._cluster)

        @activity.defn(name=LOOK)
        async def look(run: str) -> bytes:
            return encode(await look_at(self._cluster, run))

        @activity.defn(name=TURN)
        async def turn(command: bytes) -> bytes:
            return await take_turn(self._cluster, command)

        @activity.defn(name=NOTE)
        async def note(given: bytes) -> bytes:
            return given  # the result is what Temporal keeps of a local activity

        @activity.defn(name=NOTICE)
        async def tell(given: bytes) -> float:
            return await self.alerts.tell(decode(given, RunNotice))

        @activity.defn(name=DELIVER)
        async def deliver(sender: bytes, alert: bytes) -> None:
            await self.alerts.deliver(decode(sender, Sender), msgspec.msgpack.decode(alert, type=Alert))

        return [step, recall, in_place, look, turn, note, tell, deliver]

    # -- steps --------------------------------------------------------------------------------------------------------

    async def step(self, command: StepCommand) -> bytes:
        """One attempt.

        Raises:
            ApplicationError: it has failed; Temporal tries again if that is the verdict.
        """
        info = activity.info()
        progress = decode(info.heartbeat_details[0], Progress) if info.heartbeat_details else Progress()
        progress.note = ""
        if info.attempt - 1 - progress.made > progress.unread and self._encrypted and not await self._died(info):
            progress.unread = info.attempt - 1 - progress.made
        beating = asyncio.create_task(_beat(progress, command.dead_after))
        try:
            return await self._step(command, progress, info.attempt, info.workflow_type or "")
        finally:
            beating.cancel()

    async def _died(self, info: activity.Info) -> bool:
        """Did the worker die that made the last attempt? Otherwise it had not the key, and has not begun."""
        if info.workflow_id is None:
            return True
        handle = self._client.get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
        try:
            description = await handle.describe()
        except RPCError:
            return True
        for pending in description.raw_description.pending_activities:
            if pending.activity_id == info.activity_id:
                return not is_unread(pending.last_failure)
        return True

    async def _step(self, command: StepCommand, progress: Progress, tried: int, workflow: str) -> bytes:
        number = progress.made + 1
        try:
            if command.refused:
                _refuse(command)
            call = _call_of(command)
            deaths = tried - number - progress.unread
            if deaths >= DEATHS:
                raise ProcessDied(
                    f"{call.spec.owner} is not tried again: {deaths} workers died while they ran it",
                    "find out what it does to its process (memory, a crash in native code); isolate=True contains it",
                )
        except PerdureError as refusal:
            # Nothing was tried, and trying again would not help.
            ran = Ran(False, capture.encode(capture.to_fault(refusal)), number, time(), 0.0, progress.tried)
            raise _told(refusal, ran) from None
        left = _left(command)
        began = monotonic()
        root = command.root or activity.info().workflow_id or ""
        side = StepSide(command.run_id, workflow, progress, self.observer, self._cluster, root, command.tick)
        outcome, packed = await self.attempt(call, number, side, left)
        if left is not None and isinstance(outcome.error, StepTimeout) and monotonic() - began >= left:
            late = capture.encode(capture.to_fault(outcome.error))
            raise _told(outcome.error, Ran(False, late, number, outcome.started, outcome.seconds, [], late=True))
        if packed is not None:
            return encode_ran(Ran(True, packed, number, outcome.started, outcome.seconds, progress.tried))
        assert outcome.error is not None
        raise self._judged(side, call, number, outcome, outcome.error, progress)

    def _judged(
        self, side: StepSide, call: Call, number: int, outcome: Outcome, error: Exception, progress: Progress
    ) -> ApplicationError:
        """The answer to Temporal about an attempt that failed."""
        series = Series(0, progress.counted, progress.first, list(progress.tried))
        spec = call.spec
        judged = series.judge(spec.retry, spec.owner, number, error, outcome, random, spec.failures())
        decision, fault = judged.decision, judged.fault
        tried = [*progress.tried, note_of(judged, outcome)][-NOTED:]
        if isinstance(decision, Again):
            progress.made, progress.tried = number, tried
            progress.counted, progress.first = series.counted, series.first
            activity.heartbeat(encode(progress))
            if self.observer is not None:
                self.observer.notify(RetryScheduled(side.id, side.workflow, call, number, decision.delay, error))
            return ApplicationError(
                fault.message[:LONGEST_NOTE],
                type=fault.name,
                next_retry_delay=timedelta(seconds=max(decision.delay, 0.001)),
                category=ApplicationErrorCategory.BENIGN,
            )
        packed = capture.encode(capture.to_fault(error))
        if len(packed) > PORTION:
            packed = capture.encode(msgspec.structs.replace(fault, args=[], attributes={}, slots={}, responses={}))
        ran = Ran(
            False,
            packed,
            number,
            outcome.started,
            outcome.seconds,
            tried,
            program=suspicion(error) if outcome.program is None else outcome.program,
        )
        return _told(error, ran)

    async def attempt(
        self, call: Call, number: int, side: StepSide, left: float | None, context: contextvars.Context | None = None
    ) -> tuple[Outcome, bytes | None]:
        """The step's function once, under its timeout and what is `left` to the run: how it went; the packed result."""
        spec, observer = call.spec, self.observer
        seconds = spec.timeout if left is None else left if spec.timeout is None else min(spec.timeout, left)
        if observer is not None:
            observer.notify(AttemptStarted(side.id, side.workflow, call, number))
        context = context or contextvars.copy_context()
        context.run(here.set, step := StepContext(side.id, call, number, side))  # type: ignore[arg-type]
        started = time()
        error: Exception | None = None
        packed: bytes | None = None
        value: Any = None
        try:
            if spec.isolate:
                value = await self._in_thread(context, lambda: _isolated(call, side, number, left), None, spec)
            elif spec.is_async:
                value = await self._on_loop(context, call, seconds)
            else:
                value = await self._in_thread(context, lambda: spec.fn(*call.args, **call.kwargs), seconds, spec)
            refuse_change(call)
            ensure(spec, value)
            packed, value = spec.plan.round_trip(value)
            fits(packed, f"the result of {spec.owner}")
        except (NotStorable, ArgumentChanged) as refusal:
            error, packed = refusal, None
        except Exception as raised:  # noqa: BLE001  the step's own error, for the core to judge
            error = from_user_code(raised)
            if isinstance(error, StepTimeout) and left is not None and seconds == left:
                error = broken_off(spec.owner)
        with suppress(RPCError):
            await side.aend()
        outcome = Outcome(value, error, started, time() - started, program=step.program)
        if observer is not None:
            observer.notify(attempt_ended(side.id, side.workflow, call, number, outcome))
        return outcome, packed

    async def _in_thread(
        self, context: contextvars.Context, function: Callable[[], Any], timeout: float | None, spec: Spec
    ) -> Any:
        """Call a sync function in a thread of the pool; one that is stuck is left to itself when its time is over."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def finish(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result((value, None))
            else:
                future.set_result((None, error))

        def work() -> None:
            try:
                value, error = function(), None
            except BaseException as raised:  # noqa: BLE001  what waits for it judges it
                value, error = None, raised
                if isinstance(raised, Exception):
                    keep_bodies(raised)
            loop.call_soon_threadsafe(finish, value, error)

        self._pool.spawn(lambda: context.run(work))
        try:
            async with asyncio.timeout(timeout):
                value, error = await _although_cancelled(future)
        except TimeoutError:
            assert timeout is not None
            raise timed_out(spec.owner, timeout) from None
        if error is not None:
            raise (
                error
                if isinstance(error, Exception)
                else ProcessDied(f"{spec.owner} raised {error!r}", "raise an Exception in the step")
            )
        return value

    async def _on_loop(self, context: contextvars.Context, call: Call, seconds: float | None) -> Any:
        """Await an async step on the loop of all async steps: one that blocks it does not make the worker look dead."""
        spec = call.spec

        async def main() -> Any:
            coroutine = spec.fn(*call.args, **call.kwargs)
            return await (coroutine if seconds is None else bounded(coroutine, seconds, spec.owner))

        loop = self._steps_loop()
        future = context.run(asyncio.run_coroutine_threadsafe, with_bodies_kept(main()), loop)
        return await asyncio.wrap_future(future)

    def _steps_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="perdure-steps", daemon=True).start()
            return self._loop

    def close(self) -> None:
        """End the loop of the async steps."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None

    # -- records ------------------------------------------------------------------------------------------------------

    async def recall(self, id: str, first: int, carry: bytes) -> bytes:
        """Some of the records of an earlier execution."""
        try:
            history: EventHistory = await asyncio.shield(self._histories(id, carry))
        except BaseException:
            self._histories.cache_clear()
            raise
        return encode(history.portion(first, PORTION))

    async def _read(self, id: str, carry: bytes) -> EventHistory:
        given = decode(carry, Carry)
        return await read_history(self._client, id, given.run, given)


async def _beat(progress: Progress, dead_after: float) -> None:
    """Let Temporal know that this worker is alive."""
    while True:
        activity.heartbeat(encode(progress))
        await asyncio.sleep(dead_after / 4)


def _call_of(command: StepCommand) -> Call:
    """The call, as it was made in the workflow."""
    spec = registry.find_step(
        Place(command.module, command.qualname), called_step(command.kind, command.name), command.input
    )
    if command.kind in CLEAN_UPS:  # which go by names of their own
        spec = copy.copy(spec)
        spec.name, spec.record_kind = command.name, command.kind
    args, kwargs = spec.arguments(command.input)
    call = Call(spec, tuple(args), kwargs, command.input, command.key, command.named)
    call.n, call.salt = command.n, command.salt
    return call


def _refuse(command: StepCommand) -> NoReturn:
    """A step that could not be asked for: the run wants that written down, as the end of the call."""
    fault = capture.decode(command.refused)
    raise ApplicationError(
        fault.message[:LONGEST_NOTE],
        encode(Ran(False, command.refused, 0, time(), 0.0)),
        type=fault.name,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )


def _left(command: StepCommand) -> float | None:
    """Seconds until the time of the run is over; by the cluster's clock, whatever this machine's says."""
    if command.until is None:
        return None
    return max(command.until - activity.info().started_time.timestamp(), 0.001)


async def _although_cancelled(future: asyncio.Future[Any]) -> Any:
    """What a thread comes to. It cannot be interrupted: if the run is cancelled, that waits until it is done.

    Raises:
        asyncio.CancelledError: the result is not needed any more.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if future.done() or details is None or not details.cancel_requested:
            raise
        return await future


def _isolated(call: Call, side: StepSide, number: int, left: float | None) -> Any:
    from perdure.engines.processes.isolated_step import run_isolated

    return run_isolated(call, side.id, number, left)


def _told(error: Exception, ran: Ran) -> ApplicationError:
    """The failure that ends a call for good."""
    return ApplicationError(
        str(error)[:LONGEST_NOTE],
        encode_ran(ran),
        type=type(error).__name__,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )
