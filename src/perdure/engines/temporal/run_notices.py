"""What people are told of a run on a cluster: that it has begun, hangs, moves again, or how it has ended.

The workflow decides that something is to be told, which is the same in every replay. A worker tells it: only workers
have the settings that say whom.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Literal

import msgspec
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from perdure.core.records import RunStatus
from perdure.engines.temporal.lockstep_thread import LockstepThread
from perdure.engines.temporal.payloads import RunCommand, encode
from perdure.engines.temporal.run_records import RunRecords

NOTICE = "perdure.notice"
"""What Temporal calls the activity that tells."""
TELLING = timedelta(seconds=30)
"""What it may take: a service that expects heartbeats has 5 s to answer."""
TRIES = 3

What = Literal["start", "hung", "moving", "done", "failed", "cancelled"]


class RunNotice(msgspec.Struct, frozen=True, array_like=True):
    """Something to be told of a run.

    `place` are the module and the qualified name of its workflow, `script` is where its file was. `execution` is what
    Temporal knows this execution by (its id, the id of the run of that), `number` counts what it tells. `heartbeat`:
    somebody expects to hear that it begins and ends. `seconds`: no step has ended for so long. The rest is as in
    `alerts.run_alerts.RunEnding`; `fault` is what a step failed with last.
    """

    what: What
    run: str
    workflow: str
    place: tuple[str, str]
    script: str
    execution: tuple[str, str]
    number: int
    heartbeat: bool = False
    seconds: float = 0.0
    output: bytes = b""
    saved: int | None = None
    dead: int = 0
    troubled: bool = False
    step: str = ""
    attempt: int = 0
    fault: bytes = b""


class RunNotices:
    """What is told of one execution of a run.

    Args:
        command: the run.
    """

    def __init__(self, command: RunCommand) -> None:
        self._command = command
        self._told = 0
        self._hangs = False
        self._telling: set[asyncio.Task[float]] = set()

    @property
    def resumed(self) -> bool:
        """Does it go on with a run that has ended before, rather than with one that got too long for its record?"""
        return self._command.carry is not None and self._command.carry.before is None

    def begin(self) -> None:
        """The run begins, or goes on after it has failed; its first step does not wait for that to be told."""
        if self._command.heartbeat and (self._command.carry is None or self.resumed):
            self._begin("start", at_once=False)

    def _begin(self, what: What, **about: Any) -> asyncio.Future[float]:
        """Tell something while the run goes on; its end waits for that, or would be told before it."""
        task = asyncio.create_task(self._tell(what, **about))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        return asyncio.shield(task)

    async def end(self, status: RunStatus, output: bytes | None, records: RunRecords, before: int) -> None:
        """The run has ended; `before` is how many records were there when it was resumed.

        A child run ends with the one that it belongs to, which is told of.
        """
        command = self._command
        while self._telling:
            await next(iter(self._telling))
        if command.parent is not None:
            if self._hangs:
                await self._tell("moving")
            return
        dead = records.count("dead") if status == "done" else 0
        troubled = self.resumed or before > 0 or self._hangs
        if not (status == "failed" or dead or troubled or command.heartbeat):
            return
        step, attempt, fault = records.last_failure
        await self._tell(
            status,  # type: ignore[arg-type]  # an end
            output=output or b"" if status == "failed" else b"",
            saved=records.count(),
            dead=dead,
            troubled=troubled,
            step=step,
            attempt=attempt,
            fault=fault,
        )

    async def watch(self, thread: LockstepThread) -> None:
        """Tell when no step of the workflow has ended for as long as its `stall`, and when one does after all.

        Only while a step is under way: a run may wait for months, and a child run sees to its own steps.
        """
        stall = self._command.stall
        while stall is not None:
            await workflow.wait_condition(lambda: thread.executes)
            since = thread.moved
            left = since + stall - workflow.time()
            if left <= 0:
                left = await self._begin("hung", seconds=workflow.time() - since)
                if left <= 0:
                    await workflow.wait_condition(lambda since=since: thread.moved > since)  # type: ignore[misc]
                    await self._begin("moving")
                    continue
            await asyncio.sleep(left)

    async def _tell(self, what: What, *, at_once: bool = True, **about: Any) -> float:
        """Have a worker tell it. Of a run that hangs: in how many seconds to look again, if it has come on after all.

        Nothing of it may harm the run: what cannot be told is said in the log.
        """
        command, info = self._command, workflow.info()
        self._told += 1
        root = command.root
        notice = RunNotice(
            what,
            command.id if root is None else root[0],
            command.name if root is None else root[1],
            command.told_by or (command.module, command.qualname),
            command.script,
            (info.workflow_id, info.run_id),
            self._told,
            command.heartbeat,
            **about,
        )
        execute = workflow.execute_local_activity if at_once else workflow.execute_activity
        try:
            left: float = await execute(
                NOTICE,
                encode(notice),
                result_type=float,
                start_to_close_timeout=TELLING,
                retry_policy=RetryPolicy(maximum_attempts=TRIES),
            )
        except ActivityError as failed:
            workflow.logger.warning("run %s: %s is not told: %s", command.id, what, failed.cause or failed)
            return 0.0
        if what in ("hung", "moving"):
            self._hangs = what == "hung" and left <= 0
        return left
