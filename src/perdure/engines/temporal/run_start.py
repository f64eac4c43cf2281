"""How a run of a cluster is begun or gone on with: by its id or its inputs, whatever other processes do meanwhile."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping
from datetime import timedelta

import msgspec
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from perdure.config import settings
from perdure.config.script_identity import whole_path
from perdure.core.execution.run_refusals import cancelled
from perdure.core.execution.spec import Call, Spec
from perdure.core.tick_verdicts import RunTick
from perdure.core.values import codec
from perdure.engines.interface import Enqueued
from perdure.engines.runtime.clock import RealWorld
from perdure.engines.temporal.commands import MEMO, memo_of, queue_of, task_timeout
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.executions import Found, describe, find, published_of, recorded_inputs, refuse_stranger
from perdure.engines.temporal.payloads import Carry, Published, RunCommand, encode, fits
from perdure.engines.temporal.published_values import fields_of
from perdure.errors import EngineError, OtherInputs, RunError

LEVELS = (0.5, 4.5, 5.5, 9.5)
"""Between these priorities, Temporal's are one apart."""
KEY = 64
"""Characters of a key that Temporal takes."""
TRIES = 10
"""Others may start and end the same run while this process looks at it."""


NOTHING: Mapping[str, Published] = {}


def _delay_of(command: RunCommand) -> timedelta | None:
    left = 0.0 if command.not_before is None else command.not_before - time.time()
    return timedelta(seconds=left) if left > 0 else None


def _priority_of(how: Enqueued | None) -> Priority:
    """Temporal has five levels, of which 3 is the usual one, and is fair to keys of a level."""
    if how is None:
        return Priority.default
    level = bisect_right(LEVELS, how.priority) + 1
    return Priority(priority_key=level, fairness_key=how.key[:KEY] if how.key else None)


class RunStarter:
    """Starts runs, or finds those that are under way.

    Args:
        cluster: where they are.
        world: gives the ids.
        accepted: the ids of runs whose records are not held against the edited script; the engine adds to it.
    """

    def __init__(self, cluster: Cluster, world: RealWorld, accepted: set[str]) -> None:
        self.cluster = cluster
        self.world = world
        self._accepted = accepted

    async def take(self, call: Call, script: str, id: str | None, resume: str | None) -> tuple[Found, bool]:
        """The run that is to be waited for, started or resumed if need be; and whether it had been started before."""
        spec = call.spec
        known = None if resume is None else await find(self.cluster, resume)
        workflow_id = known.workflow_id if known is not None else id or await self._workflow_id(spec, call.key)
        for _ in range(TRIES):
            found = await describe(self.cluster, workflow_id)
            if found is not None and id is not None:
                await self._refuse_others(found, call)
            if found is None:
                started = await self._start(self._command(call, script, id or self._new_id(workflow_id)), workflow_id)
            elif (done := self._as_it_is(found, call, id, known)) is not None:
                return done, True
            elif found.status == "failed":
                command = msgspec.structs.replace(
                    self._command(call, script, found.memo.id),
                    created=found.memo.created,
                    blind=found.memo.blind,
                    carry=Carry(found.run_id, accepted=resume is not None and resume in self._accepted),
                )
                published = await published_of(self.cluster, found)
                started = await self._start(command, workflow_id, resume=True, published=published)
            else:
                started = await self._start(self._command(call, script, self._new_id(workflow_id)), workflow_id)
            if started is not None:
                return started, found is not None and found.status == "failed"
        raise self._contended(workflow_id)

    async def enqueue(self, call: Call, how: Enqueued, tick: RunTick | None = None) -> str:
        """Start a run that stands by itself, and do not wait for it; the id of it, or of the one that is meant.

        Raises:
            OtherInputs: the id stands for a run with other inputs.
        """
        spec = call.spec
        if how.dedup is not None:
            digest = self.cluster.ring.digests(f"{spec.module}\0{spec.name}\0{how.dedup}".encode())[0]
            workflow_id = f"{spec.name}-dedup-{digest.hex()[:10]}"
            id = self._new_id(workflow_id)
        else:
            workflow_id = id = how.id or f"{spec.name}-{self.world.new_id()}"
        wake = how.wake(time.time())
        command = self._command(call, spec.file, id)
        command = msgspec.structs.replace(command, not_before=wake, tick=tick, queue=how.queue)
        for _ in range(TRIES):
            started = await self._start(command, workflow_id, how=how)
            if started is not None:
                return id
            found = await describe(self.cluster, workflow_id)
            if found is not None and how.dedup is None:
                await self._refuse_others(found, call)
            if found is not None and (how.dedup is None or found.status == "running"):
                return found.memo.id
        raise self._contended(workflow_id)

    async def _refuse_others(self, found: Found, call: Call) -> None:
        if found.memo.key != call.key:
            recorded = await recorded_inputs(self.cluster, found)
            raise OtherInputs(
                f"run {found.memo.id} was started with other inputs\n    recorded: {found.memo.name}{recorded}\n"
                f"    now:      {call.spec.name}{codec.describe_inputs(call.input)}",
                "give these inputs another id: an id stands for exactly one run",
            )

    def _contended(self, workflow_id: str) -> EngineError:
        return EngineError(
            f"run {workflow_id} is started and ended by other processes at the same time", "run again later"
        )

    async def _workflow_id(self, spec: Spec, key: bytes) -> str:
        """What Temporal knows the runs of the same inputs by, if they have no name.

        With encryption nothing follows from it about the inputs. A run that was started with an earlier key, or without
        one, is found all the same while it is under way, or has failed.
        """
        digests = self.cluster.ring.digests(spec.module.encode() + key)
        ids = [f"{spec.name}-{digest.hex()[:10]}" for digest in digests]
        for earlier in ids[1:]:
            found = await describe(self.cluster, earlier)
            if found is not None and found.status in ("running", "failed"):
                return earlier
        return ids[0]

    def _as_it_is(self, found: Found, call: Call, id: str | None, known: Found | None) -> Found | None:
        """The run, if there is nothing to be started."""
        if found.status == "running":
            return found
        if known is not None and known.memo.id != found.memo.id:
            raise RunError(f"a newer run has taken the place of run {known.memo.id}", "see it with `perdure ps`")
        if id is None and known is None:
            return None
        if found.status == "cancelled":
            raise cancelled(found.memo.id)
        return found if found.status == "done" else None

    def _command(self, call: Call, script: str, id: str) -> RunCommand:
        spec = call.spec
        return RunCommand(
            id=id,
            module=spec.module,
            name=spec.name,
            key=call.key,
            n=0,
            input=fits(call.input, f"the input of {spec.owner}"),
            script=whole_path(script),
            dead_after=self.cluster.address.dead_after,
            events=self.cluster.address.events,
            created=time.time(),
            timeout=spec.rules.timeout,
            qualname=spec.qualname,
            blind=self.cluster.ring.new_blind(),
            heartbeat=bool(spec.rules.heartbeat or settings.heartbeat_url(spec.file)),
            stall=spec.rules.stall,
        )

    def _new_id(self, workflow_id: str) -> str:
        # Each run of the same workflow with the same arguments needs idempotency keys of its own.
        return f"{workflow_id}.{self.world.new_id()[:5]}"

    async def _start(
        self,
        command: RunCommand,
        workflow_id: str,
        *,
        resume: bool = False,
        published: Mapping[str, Published] = NOTHING,
        how: Enqueued | None = None,
    ) -> Found | None:
        """Start an execution; None if another process was faster."""
        client = await self.cluster.client()
        if not resume:
            await refuse_stranger(self.cluster, command.name, queue_of(command.module))
        named = command.id == workflow_id
        if not named:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
        elif resume:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
        else:
            reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
        try:
            handle = await client.start_workflow(
                command.name,
                encode(command),
                id=workflow_id,
                task_queue=queue_of(command.module),
                id_reuse_policy=reuse,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                task_timeout=task_timeout(command.dead_after),
                memo={MEMO: encode(memo_of(command)), **fields_of(published)},
                start_delay=_delay_of(command),
                priority=_priority_of(how),
            )
        except WorkflowAlreadyStartedError:
            return None
        assert handle.first_execution_run_id is not None
        return Found(workflow_id, handle.first_execution_run_id, memo_of(command), "running")
