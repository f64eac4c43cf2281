"""The schedules of a cluster: declared, looked at and changed from outside, and the turns of their tickers."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping

import msgspec
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from perdure.core.execution.queueing import DEFAULT
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunRecord
from perdure.engines import registry
from perdure.engines.interface import Enqueued
from perdure.engines.runtime.clock import RealWorld
from perdure.engines.schedule_declarations import declaration_of
from perdure.engines.temporal import schedule_state
from perdure.engines.temporal.commands import queue_of
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.run_ends import look_at
from perdure.engines.temporal.run_start import RunStarter
from perdure.engines.temporal.schedule_state import STATE, Deed, TurnCommand, TurnDone
from perdure.engines.temporal.ticker import DEED, TICKER, id_of
from perdure.errors import NotFound, OtherInputs
from perdure.store.runs import Store
from perdure.store.schedule_copies import ScheduleCopy, copy_of, pack, scratch, set_status, unpack
from perdure.store.schedules import Declaration, every

UNUSABLE = 60.0
"""Seconds until a tick that could not be counted, or a run that could not begin, is tried again."""

NOTHING: Mapping[str, tuple[str, float]] = {}

_log = logging.getLogger("perdure")


# -- from outside -----------------------------------------------------------------------------------------------------


async def declare(cluster: Cluster, declared: Declaration) -> None:
    """Write down a schedule, and see that its ticker runs."""
    client = await cluster.client()
    deed = msgspec.msgpack.encode(Deed("declare", time.time(), declared))
    await client.start_workflow(
        TICKER,
        args=[declared.name, b""],
        id=id_of(declared.name),
        task_queue=queue_of(declared.script),
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=DEED,
        start_signal_args=[deed],
    )


async def declare_loaded(cluster: Cluster, modules: Collection[str]) -> None:
    """A worker has loaded these scripts: their schedules are declared, and those that they no longer have are not."""
    specs = [spec for spec in registry.every("workflow") if spec.module in modules]
    given = [declaration_of(spec, one, script=spec.module, origin="script") for spec in specs for one in spec.schedules]
    for declared in given:
        await declare(cluster, declared)
    names = {declared.name for declared in given}
    for state in await states(cluster):
        schedule = state.schedule
        if schedule.script in modules and schedule.origin == "script" and schedule.name not in names:
            await ask(cluster, schedule.name, Deed("undeclare", time.time()))


async def ask(cluster: Cluster, name: str, deed: Deed) -> None:
    """Have something done with a schedule, by its ticker.

    Raises:
        NotFound: there is no such schedule.
    """
    client = await cluster.client()
    try:
        await client.get_workflow_handle(id_of(name)).signal(DEED, msgspec.msgpack.encode(deed))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise NotFound(
            f"there is no schedule {name!r} on {cluster.address.target}", "see `perdure schedule ls`"
        ) from None


async def states(cluster: Cluster) -> list[ScheduleCopy]:
    """All schedules, as their tickers have them."""
    client = await cluster.client()
    found: dict[str, ScheduleCopy] = {}
    async for execution in client.list_workflows(f"WorkflowType = '{TICKER}'"):
        if execution.status is not WorkflowExecutionStatus.RUNNING or execution.id in found:
            continue
        # The list may lag behind by a second; the ticker itself does not.
        description = await client.get_workflow_handle(execution.id).describe()
        packed = (await description.memo()).get(STATE)
        if type(packed) is bytes and description.status is WorkflowExecutionStatus.RUNNING:
            copy = unpack(packed)
            if copy is not None:
                found[execution.id] = copy
    return list(found.values())


# -- a turn of a ticker -----------------------------------------------------------------------------------------------


async def take_turn(cluster: Cluster, data: bytes) -> bytes:
    """Decide about the ticks that are due, and begin and cancel runs."""
    command = msgspec.msgpack.decode(data, type=TurnCommand)
    with scratch([unpack(command.state)]) as store:
        if command.state:
            await refresh(cluster, store, command.ended)
        now = max(time.time(), command.now)
        schedule_state.turn(store, command, now)
        state = copy_of(store, command.name)
        if state is None:
            return msgspec.msgpack.encode(TurnDone(b"", None))
        for run in schedule_state.to_start(state):
            try:
                await _start(cluster, state, run)
                set_status(store, run, "running")
            except (NotFound, OtherInputs) as error:
                _log.error("schedule %s: run %s does not begin: %s", command.name, run.id, error.what)
        for run in schedule_state.to_cancel(state):
            await _cancel(cluster, run)
        state = copy_of(store, command.name)
        assert state is not None
        due = state.schedule.due if state.schedule.status == "active" else None
        if (due is not None and due <= now) or schedule_state.to_start(state):
            due = now + UNUSABLE
        return msgspec.msgpack.encode(TurnDone(pack(state), due, schedule_state.awaited_by(state)))


async def refresh(cluster: Cluster, store: Store, ended: Mapping[str, tuple[str, float]] = NOTHING) -> None:
    """See how the runs of copied schedules stand that have begun; of some it is known that they have ended."""
    for schedule in every(store):
        copy = copy_of(store, schedule.name)
        for run in copy.runs if copy is not None else ():
            if run.status not in ("running", "suspended"):
                continue
            status, stamp = ended.get(run.id, ("", 0.0))
            if not status:
                looked = await look_at(cluster, run.id)
                status, stamp = looked.status or "", looked.stamp
            if status:
                set_status(store, run, status, stamp)  # type: ignore[arg-type]


async def _start(cluster: Cluster, state: ScheduleCopy, run: RunRecord) -> None:
    schedule = state.schedule
    spec = _workflow(schedule.workflow, schedule.script)
    call = Call(spec, (), {}, run.input, run.key)
    how = Enqueued(id=run.id, queue=schedule.queue or DEFAULT, priority=5)
    await RunStarter(cluster, RealWorld(), set()).enqueue(call, how, schedule_state.tick_of(state, run))


def _workflow(name: str, module: str) -> Spec:
    found = [spec for spec in registry.every("workflow") if spec.name == name and spec.module == module]
    if not found:
        raise NotFound(f"workflow {name!r} is not in script {module!r} any more", "see `perdure schedule rm`")
    return found[-1]


async def _cancel(cluster: Cluster, run: RunRecord) -> None:
    client = await cluster.client()
    try:
        await client.get_workflow_handle(run.id).cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended by itself
            raise
