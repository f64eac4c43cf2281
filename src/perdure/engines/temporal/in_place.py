"""Steps of perdure's own that need what the process of the workflow has at hand: values and secrets that no record has.

Temporal keeps for good what an activity is given. These are local activities that are given a number: what they need
stays in the memory of this process. The record that they come to is their marker in the history, as that of a wait is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextvars import Context
from datetime import timedelta
from typing import NamedTuple

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError

from perdure.core.exceptions import capture
from perdure.core.execution.spec import Call
from perdure.core.records import StepStatus
from perdure.engines.temporal.payloads import Carried, Published, Ran, WaitNote, decode
from perdure.errors import RunError

IN_PLACE = "perdure.in_place"
"""What Temporal calls the local activity."""
LONGEST = timedelta(hours=1)
"""Of one call, with all its attempts."""


class Root(NamedTuple):
    """The run that people know: its id, its workflow, and what Temporal knows its executions by."""

    id: str
    workflow: str
    workflow_id: str


class PlacedCall(NamedTuple):
    """A call, with what its function finds around it, and the runs that make it and that it is made for.

    `publish` takes what it publishes, on Temporal's loop.
    """

    call: Call
    context: Context
    run: str
    root: Root
    publish: Callable[[Published], None]


calls: dict[int, PlacedCall] = {}
"""Those under way in this process, by number."""
_numbers = itertools.count(1)


async def carry_in_place(placed: PlacedCall) -> Ran:
    """Have this process make a call: how it ended."""
    call, number = placed.call, next(_numbers)
    calls[number] = placed
    try:
        noted = await workflow.execute_local_activity(
            IN_PLACE,
            number,
            result_type=bytes,
            start_to_close_timeout=LONGEST,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
    except ActivityError as failed:
        if isinstance(failed.cause, CancelledError):
            raise asyncio.CancelledError from None
        error = RunError(f"{call.spec.owner} has not ended: {failed.cause or failed}", "see the logs of the workers")
        return Ran(False, capture.encode(capture.to_fault(error)), 1, workflow.time(), 0.0)
    finally:
        calls.pop(number, None)
    note = decode(noted, WaitNote)
    record = note.closed
    assert record is not None
    if note.published is not None:
        placed.publish(note.published)
    return Ran(record.status == "done", record.output, record.attempts, record.started, record.seconds, record.tried)


def noted_as(call: Call, ran: Ran, published: Published | None = None) -> WaitNote:
    """What the history keeps of a call that has ended."""
    status: StepStatus = "done" if ran.ok else "failed"
    rest = (ran.packed, ran.started, ran.seconds, ran.attempts, ran.tried)
    kind = call.spec.record_kind
    record = Carried(call.spec.name, call.key, call.n, status, call.input, *rest, kind=kind)
    return WaitNote(closed=record, published=published)
