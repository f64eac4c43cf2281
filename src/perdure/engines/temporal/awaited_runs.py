"""Runs whose ends a run on a cluster waits for: it asks each of them to be told, and each tells who has asked.

A run that was ended by the cluster tells nobody, so how it stands is looked at, too: after a minute, and then less and
less often. Nothing of it is a record: the wait is, and a new execution of the run asks anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

from perdure.core.waits import RunEnd
from perdure.engines.temporal.messages import AWAIT, Awaiting
from perdure.engines.temporal.payloads import RunLook, decode, encode

LOOK = "perdure.look"
"""What Temporal calls the local activity that sees how a run stands."""
FIRST, LONGEST = 60.0, 3600.0
"""Seconds between two looks."""


class AwaitedRuns:
    """The runs that one run waits for.

    Args:
        ends: how they have ended, by id; others add to it.
        ended: called with the id when a look finds that one has ended.
    """

    def __init__(self, ends: dict[str, RunEnd], ended: Callable[[str], None]) -> None:
        self._ends = ends
        self._ended = ended
        self._wanted: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asking: set[asyncio.Task[None] | None] = set()  # those whose signal to the other run is under way

    def want(self, run: str) -> None:
        """A wait is for that run."""
        self._wanted[run] = self._wanted.get(run, 0) + 1
        if run not in self._tasks and run not in self._ends:
            self._tasks[run] = asyncio.create_task(self._await(run))

    def want_no_more(self, run: str) -> None:
        """That wait is over."""
        self._wanted[run] -= 1
        if not self._wanted[run]:
            del self._wanted[run]
            task = self._tasks.pop(run, None)
            # A signal that is taken back and fails in one activation is a nondeterminism, by the rules of the SDK.
            if task is not None and task not in self._asking:
                task.cancel()

    async def _await(self, run: str) -> None:
        pause = FIRST
        while run not in self._ends:
            looked = await _look(run)
            if looked.status is not None:
                self._ends[run] = RunEnd(looked.status, looked.stamp, looked.output)
                self._ended(run)
                return
            me, task = Awaiting(workflow.info().workflow_id, run), asyncio.current_task()
            self._asking.add(task)
            try:
                await workflow.get_external_workflow_handle(looked.workflow_id).signal(AWAIT, encode(me))
                over = False
            except FailureError:
                over = True
            finally:
                self._asking.discard(task)
            if self._tasks.get(run) is not task:
                return  # nobody waits for it any more
            if over:  # it has ended in between
                await asyncio.sleep(1)
                continue
            try:
                await workflow.wait_condition(lambda: run in self._ends, timeout=pause)
            except TimeoutError:
                pause = min(4 * pause, LONGEST)


async def _look(run: str) -> RunLook:
    answer = await workflow.execute_local_activity(
        LOOK,
        run,
        result_type=bytes,
        start_to_close_timeout=timedelta(minutes=1),
        retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
    )
    return decode(answer, RunLook)


async def tell(workflow_id: str, signal: str, data: bytes) -> None:
    """Send something to another execution; one that has ended does not need it any more."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(signal, data)
    except FailureError:
        workflow.logger.debug("%s is over", workflow_id)
