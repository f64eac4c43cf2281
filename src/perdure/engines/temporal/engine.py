"""The engine of a cluster, as the outside sees it: starts runs, waits for them, tells how they stand."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import CancelledError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from perdure.core.execution.history import CLEANED
from perdure.core.execution.spec import Call
from perdure.core.records import RunStatus
from perdure.core.values import codec
from perdure.engines.events import Observer, RunEnded, RunResumed, RunStarted, RunStopped
from perdure.engines.interface import Began
from perdure.engines.runtime.clock import RealWorld
from perdure.engines.temporal.address import Address
from perdure.engines.temporal.commands import MEMO, cancelled, failure_of, memo_of, task_timeout
from perdure.engines.temporal.connection import Cluster, queue_of
from perdure.engines.temporal.event_history import read_past
from perdure.engines.temporal.payloads import Carry, RunMemo, RunOrder, decode, encode, fits
from perdure.engines.temporal.unsupported import refuse_locks, refuse_parking
from perdure.errors import Cancelled, EngineError, NotFound, OtherInputs, RunError, StopRun, UsageError
from perdure.store.cluster_snapshot import ToldRun

if TYPE_CHECKING:
    from perdure.engines.temporal.replay_check import Fit

TRIES = 10
"""Others may start and end the same run while this process looks at it."""

STATUS: dict[WorkflowExecutionStatus | None, RunStatus] = {
    WorkflowExecutionStatus.COMPLETED: "done",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TERMINATED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
}


class Found(msgspec.Struct, frozen=True):
    """A run on the cluster: its execution, and what its memo says."""

    workflow_id: str
    run_id: str
    memo: RunMemo
    status: RunStatus


class TemporalEngine:
    """Runs workflows on a Temporal cluster; this process lends it a worker for as long as it waits for a run.

    Args:
        address: where the cluster is.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.cluster = Cluster(address)
        self.world = RealWorld()
        self.observer: Observer | None = None
        self._accepted: set[str] = set()

    def accept(self, id: str) -> None:
        """When that run is resumed next by this process, do not hold its records against the script."""
        self._accepted.add(id)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def run(
        self, call: Call, *, script: str, id: str | None = None, resume: str | None = None, began: Began | None = None
    ) -> Any:
        """Run a sync workflow to its end: start it, resume it, wait for it if it is under way, or return its result.

        Args:
            call: the workflow's function and arguments.
            script: the path of the script that it is in.
            id: exactly one run under this id, ever.
            resume: the id of a run to go on with, whatever its inputs.
            began: told the id of the run as soon as it is known.

        Raises:
            OtherInputs: the id stands for a run with other inputs.
            Drift: the script was edited so that it does not fit what the run has done.
            EngineError: the cluster cannot be reached.
            Exception: whatever the workflow raises.
        """
        return self.cluster.wait(self._run(call, script, id, resume, began))

    async def arun(
        self, call: Call, *, script: str, id: str | None = None, resume: str | None = None, began: Began | None = None
    ) -> Any:
        """Run an async workflow to its end, as `run` does."""
        return await self.cluster.awaited(self._run(call, script, id, resume, began))

    async def _run(self, call: Call, script: str, id: str | None, resume: str | None, began: Began | None) -> Any:
        spec = call.spec
        refuse_locks(spec)
        refuse_parking(spec)
        attempts = await self.cluster.attempts()
        attempts.observer = self.observer
        found, resumed = await self._take(call, script, id, resume)
        if began is not None:
            began(found.memo.id)
        under_way = found.status != "done"
        if self.observer is not None and under_way:
            if resumed:
                self.observer.notify(RunResumed(found.memo.id, spec.name, await self._recorded(found)))
            else:
                self.observer.notify(RunStarted(found.memo.id, spec.name))
        client = await self.cluster.client()
        handle = client.get_workflow_handle(found.workflow_id, run_id=found.run_id, result_type=bytes)
        status: RunStatus | None = None
        try:
            async with self.cluster.working(queue_of(spec.main)) if under_way else nullcontext():
                payload = await handle.result()
            status = "done"
        except WorkflowFailureError as failed:
            status = "failed"
            if isinstance(failed.cause, CancelledError):
                status = "cancelled"
                raise await self._cancelled(found) from None
            raise _error(failed.cause, found.memo.id, call) from None
        except BaseException as error:
            if self.observer is not None and under_way:
                self.observer.notify(RunStopped(found.memo.id, spec.name, error))  # here; the cluster goes on with it
            raise
        finally:
            if self.observer is not None and under_way and status is not None:
                self.observer.notify(RunEnded(found.memo.id, spec.name, status))
        return spec.plan.unpack(payload)

    async def _cancelled(self, found: Found) -> Cancelled:
        """The error for a run that was cancelled, with what it could not put away; Temporal keeps no error of it."""
        error = cancelled(found.memo.id)
        past = await read_past(await self.cluster.client(), found.workflow_id, found.run_id)
        for record in past.records:
            if record.status == "dead" and record.name.startswith(CLEANED):
                error.add_note(f"perdure: clean-up {record.name} has failed, and is a dead letter")
        error.add_note(f"perdure: run {found.memo.id} was cancelled; a run of the same inputs starts anew")
        return error

    async def _recorded(self, found: Found) -> int:
        """How many steps had been done before."""
        past = await read_past(await self.cluster.client(), found.workflow_id, found.run_id)
        if past.order is not None and past.order.carry is not None:
            past = await read_past(await self.cluster.client(), found.workflow_id, past.order.carry.run)
        return len(past.records)

    async def _take(self, call: Call, script: str, id: str | None, resume: str | None) -> tuple[Found, bool]:
        """The run that is to be waited for, started or resumed if need be; and whether it had been started before."""
        spec = call.spec
        known = None if resume is None else await self.find(resume)
        if known is not None:
            workflow_id = known.workflow_id
        else:
            workflow_id = id or f"{spec.name}-{codec.digest(spec.main.encode() + call.key).hex()[:10]}"
        for _ in range(TRIES):
            found = await self._describe(workflow_id)
            if found is not None and id is not None and found.memo.key != call.key:
                raise await self._other_inputs(found, call)
            if found is None:
                started = await self._start(self._order(call, script, id or self._new_id(workflow_id)), workflow_id)
            elif (done := self._as_it_is(found, call, id, known)) is not None:
                return done, True
            elif found.status == "failed":
                order = msgspec.structs.replace(
                    self._order(call, script, found.memo.id),
                    created=found.memo.created,
                    carry=Carry(found.run_id, accepted=resume is not None and resume in self._accepted),
                )
                started = await self._start(order, workflow_id, resume=True)
            else:
                started = await self._start(self._order(call, script, self._new_id(workflow_id)), workflow_id)
            if started is not None:
                return started, found is not None and found.status == "failed"
        raise EngineError(f"run {workflow_id} is started and ended by others all the time", "try again later")

    async def _other_inputs(self, found: Found, call: Call) -> OtherInputs:
        client = await self.cluster.client()
        handle = client.get_workflow_handle(found.workflow_id, run_id=found.run_id)
        recorded = ""
        async for event in handle.fetch_history_events(page_size=1):
            payload = event.workflow_execution_started_event_attributes.input.payloads[0]
            recorded = f"    recorded: {found.memo.name}{codec.describe_inputs(decode(payload.data, RunOrder).input)}\n"
            break
        return OtherInputs(
            f"run {found.memo.id} was started with other inputs\n{recorded}"
            f"    now:      {call.spec.name}{codec.describe_inputs(call.input)}",
            "an id stands for exactly one run: give these inputs an id of their own",
        )

    def _as_it_is(self, found: Found, call: Call, id: str | None, known: Found | None) -> Found | None:
        """The run, if there is nothing to be started."""
        if found.status == "running":
            return found
        if known is not None and known.memo.id != found.memo.id:
            raise RunError(f"a newer run has taken the place of run {known.memo.id}", "see it with `perdure ps`")
        if id is None and known is None:
            return None
        if found.status == "cancelled":
            raise RunError(f"run {found.memo.id} was cancelled", "give the new run another id")
        return found if found.status == "done" else None

    def _order(self, call: Call, script: str, id: str) -> RunOrder:
        spec = call.spec
        return RunOrder(
            id=id,
            module=spec.main,
            name=spec.name,
            key=call.key,
            n=0,
            input=fits(call.input, f"the input of {spec.owner}"),
            script=os.path.abspath(script) if script and not script.startswith("<") else script,
            dead_after=self.address.dead_after,
            events=self.address.events,
            created=time.time(),
            timeout=spec.rules.timeout,
        )

    def _new_id(self, workflow_id: str) -> str:
        # Each run of the same workflow with the same arguments needs idempotency keys of its own.
        return f"{workflow_id}.{self.world.new_id()[:5]}"

    async def _start(self, order: RunOrder, workflow_id: str, *, resume: bool = False) -> Found | None:
        """Start an execution; None if somebody else was faster."""
        client = await self.cluster.client()
        named = order.id == workflow_id
        if not named:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
        elif resume:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
        else:
            reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
        try:
            handle = await client.start_workflow(
                order.name,
                encode(order),
                id=workflow_id,
                task_queue=queue_of(order.module),
                id_reuse_policy=reuse,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                task_timeout=task_timeout(order.dead_after),
                memo={MEMO: encode(memo_of(order))},
            )
        except WorkflowAlreadyStartedError:
            return None
        assert handle.first_execution_run_id is not None
        return Found(workflow_id, handle.first_execution_run_id, memo_of(order), "running")

    def serve(self, modules: Iterable[str], until: threading.Event, grace: float) -> None:
        """Lend workers to the scripts of these stems until the event is set.

        Args:
            modules: the stems of the files, which this process has loaded.
            until: set when it is to end.
            grace: seconds that steps under way have to end then.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        self.cluster.wait(self._serve(sorted(set(modules)), until, grace))

    async def _serve(self, modules: list[str], until: threading.Event, grace: float) -> None:
        (await self.cluster.attempts()).observer = self.observer
        async with AsyncExitStack() as stack:
            for module in modules:
                await stack.enter_async_context(self.cluster.working(queue_of(module), grace))
            while not until.is_set():  # set by a signal handler, on another thread
                await asyncio.sleep(0.1)

    def check(self, modules: Iterable[str]) -> list[Fit]:
        """Which runs that are under way fit the scripts of these stems, as this process has loaded them now.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        from perdure.engines.temporal.replay_check import fits

        return self.cluster.wait(fits(self, modules))

    # -- how they stand -----------------------------------------------------------------------------------------------

    def status(self, id: str) -> RunStatus:
        """How a run stands.

        Raises:
            NotFound: there is no such run.
            EngineError: the cluster cannot be reached.
        """
        return self.cluster.wait(self.find(id)).status

    def tell(self, reference: str | None = None, most: int | None = None) -> list[ToldRun]:
        """The runs of the cluster, parents before their children.

        Args:
            reference: an id, the beginning of one, or "last": tells all about the runs that may be meant.
            most: without a reference: tells all about so many of the newest; None for all of them.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        from perdure.engines.temporal.run_listing import tell

        return self.cluster.wait(tell(self, reference, most))

    def cancel(self, id: str) -> RunStatus:
        """Ask a run to end; returns how it stood. Steps under way are told at their next sign of life.

        Raises:
            NotFound: there is no such run.
            UsageError: it is a child run.
            EngineError: the cluster cannot be reached.
        """
        return self.cluster.wait(self._cancel(id))

    async def _cancel(self, id: str) -> RunStatus:
        found = await self.find(id)
        if found.memo.parent is not None:
            raise UsageError(f"run {id} is a child run, which ends when its parent does", f"name {found.memo.parent}")
        if found.status == "running":
            client = await self.cluster.client()
            await client.get_workflow_handle(found.workflow_id, run_id=found.run_id).cancel()
        return found.status

    async def find(self, id: str) -> Found:
        """The run of that id.

        Raises:
            NotFound: there is none.
        """
        found = await self._describe(id)
        if found is None:
            workflow_id = id.rpartition(".")[0]
            newest = await self._describe(workflow_id) if workflow_id else None
            if newest is not None and newest.memo.id == id:
                return newest
            found = await self._older(workflow_id, id) if newest is not None else None
        if found is None:
            raise NotFound(f"there is no run {id!r} on {self.address.target}", "list the runs with `perdure ps`")
        return found

    async def _older(self, workflow_id: str, id: str) -> Found | None:
        client = await self.cluster.client()
        quoted = workflow_id.replace("'", "''")
        async for execution in client.list_workflows(f"WorkflowId = '{quoted}'"):
            memo = await memo_in(execution)
            if memo is not None and memo.id == id:
                return Found(workflow_id, execution.run_id, memo, STATUS.get(execution.status, "running"))
        return None

    async def _describe(self, workflow_id: str) -> Found | None:
        client = await self.cluster.client()
        try:
            description = await client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise EngineError(f"the cluster refuses to tell about {workflow_id}: {error}", "") from None
        memo = await memo_in(description)
        if memo is None:
            raise EngineError(
                f"{workflow_id} is a workflow of somebody else's on that cluster", "give the run another id"
            )
        return Found(workflow_id, description.run_id, memo, STATUS.get(description.status, "running"))


async def memo_in(execution: Any) -> RunMemo | None:
    """What perdure noted about an execution; None if it is somebody else's."""
    data = (await execution.memo()).get(MEMO)
    return decode(data, RunMemo) if type(data) is bytes else None


def _error(cause: BaseException | None, id: str, call: Call) -> Exception:
    try:
        return failure_of(cause, id, call.spec)
    except StopRun as stop:
        return stop.error


_engines: dict[str, TemporalEngine] = {}
_lock = threading.Lock()


def engine_of(url: str) -> TemporalEngine:
    """The engine of this process for that address; there is never more than one.

    Raises:
        OptionError: it is not an address.
    """
    with _lock:
        engine = _engines.get(url)
        if engine is None:
            engine = _engines[url] = TemporalEngine(Address.of(url))
        return engine
