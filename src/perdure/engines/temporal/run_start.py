"""How a run of a cluster is begun or gone on with: by its id or its inputs, whatever other processes do meanwhile."""

from __future__ import annotations

import os
import time

import msgspec
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from perdure.core.execution.spec import Call, Spec
from perdure.core.values import codec
from perdure.engines.runtime.clock import RealWorld
from perdure.engines.temporal.commands import MEMO, memo_of, task_timeout
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.executions import Found, describe, find, recorded_inputs, refuse_stranger
from perdure.engines.temporal.payloads import Carry, RunCommand, encode, fits
from perdure.engines.temporal.worker import queue_of
from perdure.errors import EngineError, OtherInputs, RunError

TRIES = 10
"""Others may start and end the same run while this process looks at it."""


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
            if found is not None and id is not None and found.memo.key != call.key:
                recorded = await recorded_inputs(self.cluster, found)
                raise OtherInputs(
                    f"run {found.memo.id} was started with other inputs\n    recorded: {found.memo.name}{recorded}\n"
                    f"    now:      {spec.name}{codec.describe_inputs(call.input)}",
                    "give these inputs another id: an id stands for exactly one run",
                )
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
                started = await self._start(command, workflow_id, resume=True)
            else:
                started = await self._start(self._command(call, script, self._new_id(workflow_id)), workflow_id)
            if started is not None:
                return started, found is not None and found.status == "failed"
        raise EngineError(
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
            raise RunError(f"run {found.memo.id} was cancelled", "give the new run another id")
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
            script=os.path.abspath(script) if script and not script.startswith("<") else script,
            dead_after=self.cluster.address.dead_after,
            events=self.cluster.address.events,
            created=time.time(),
            timeout=spec.rules.timeout,
            qualname=spec.qualname,
            blind=self.cluster.ring.new_blind(),
        )

    def _new_id(self, workflow_id: str) -> str:
        # Each run of the same workflow with the same arguments needs idempotency keys of its own.
        return f"{workflow_id}.{self.world.new_id()[:5]}"

    async def _start(self, command: RunCommand, workflow_id: str, *, resume: bool = False) -> Found | None:
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
                memo={MEMO: encode(memo_of(command))},
            )
        except WorkflowAlreadyStartedError:
            return None
        assert handle.first_execution_run_id is not None
        return Found(workflow_id, handle.first_execution_run_id, memo_of(command), "running")
