"""The ticker of a schedule on a cluster: a workflow that waits for the next tick, and has an activity decide about it.

Temporal's own schedules have other ticks where clocks change, and catch up otherwise; this one has those of a state
file. It is rows and a timer meanwhile, and goes on in a new execution now and then.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
from temporalio import workflow
from temporalio.common import RetryPolicy

from perdure.core.waits import RunEnd
from perdure.engines.temporal.awaited_runs import AwaitedRuns
from perdure.engines.temporal.messages import ENDED, RunEnded
from perdure.engines.temporal.schedule_state import STATE, Deed, TurnCommand, TurnDone

TICKER = "perdure.ticker"
"""What Temporal calls the workflow."""
TURN = "perdure.turn"
"""What Temporal calls the activity that decides."""
DEED = "perdure.deed"
"""The signal that asks for something to be done with the schedule."""
RECOUNT = 3600.0
"""Seconds until the next tick is computed again: the data of its zone may have changed."""
MOST_EVENTS = 2_000
"""Of Temporal's record of a ticker."""


def id_of(name: str) -> str:
    """What Temporal knows the ticker of a schedule by."""
    return f"perdure-schedule:{name}"


@workflow.defn(name=TICKER, sandboxed=False)
class Ticker:
    """Counts one schedule."""

    def __init__(self) -> None:
        self._deeds: list[Deed] = []
        self._stirred = False
        self._ends: dict[str, RunEnd] = {}
        self._runs = AwaitedRuns(self._ends, lambda run: self._stir())
        self._awaited: set[str] = set()

    def _stir(self) -> None:
        self._stirred = True

    @workflow.signal(name=DEED)
    def deed(self, data: bytes) -> None:
        """Something is to be done with the schedule."""
        self._deeds.append(msgspec.msgpack.decode(data, type=Deed))

    @workflow.signal(name=ENDED)
    def ended(self, data: bytes) -> None:
        """A run has ended for which the next one waits."""
        told = msgspec.msgpack.decode(data, type=RunEnded)
        self._ends[told.run] = RunEnd(told.status, told.stamp, None)
        self._stir()

    @workflow.run
    async def run(self, name: str, given: bytes) -> None:
        """From turn to turn, until the schedule is removed."""
        state = given
        while True:
            deeds, self._deeds, self._stirred = self._deeds, [], False
            ended = {run: (end.status, end.stamp) for run, end in self._ends.items()}
            done = await self._turn(TurnCommand(name, state, deeds, workflow.time(), ended))
            state = done.state
            if not state and not self._deeds:
                return
            workflow.upsert_memo({STATE: state})
            self._await(set(done.awaited))
            left = RECOUNT if done.due is None else min(max(done.due - workflow.time(), 0.0), RECOUNT)
            if workflow.info().get_current_history_length() > MOST_EVENTS and not self._deeds:
                self._await(set())
                workflow.continue_as_new(args=[name, state], memo=dict(workflow.memo()))
            try:
                await workflow.wait_condition(lambda: bool(self._deeds) or self._stirred, timeout=left)
            except TimeoutError:
                continue

    async def _turn(self, command: TurnCommand) -> TurnDone:
        answer = await workflow.execute_activity(
            TURN,
            msgspec.msgpack.encode(command),
            result_type=bytes,
            start_to_close_timeout=timedelta(minutes=5),
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
        )
        return msgspec.msgpack.decode(answer, type=TurnDone)

    def _await(self, runs: set[str]) -> None:
        for run in self._awaited - runs:
            self._runs.want_no_more(run)
            self._ends.pop(run, None)
        for run in runs - self._awaited:
            self._runs.want(run)
        self._awaited = runs
