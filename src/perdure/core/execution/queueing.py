"""A run that is to begin later, by a worker: what is asked for, and how a workflow asks for it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from perdure.core.execution.call import recall, recorded
from perdure.core.execution.call_end import End, Succeeded
from perdure.core.execution.effects import Load, Save
from perdure.core.execution.history import History
from perdure.core.execution.run_effects import Start
from perdure.core.execution.spec import Call

DEFAULT = "default"
"""The queue of runs that were enqueued without naming one."""


class QueuedRun(msgspec.Struct, frozen=True):
    """A run that stands in a queue.

    Attributes:
        start: what to run. Its `id` is the one that the caller gave (`named`), or None: it gets the `fresh` one.
        queue: the name of the queue.
        priority: 0 comes first.
        queue_key: of which only so many run at a time, if the queue says so.
        dedup: if a run of the workflow with this key is unfinished, that one will do.
        wake: before when it does not begin, in seconds since the epoch.
        hold: why it does not begin until something else has happened.
    """

    start: Start
    queue: str = DEFAULT
    priority: int = 5
    queue_key: str | None = None
    dedup: str | None = None
    wake: float | None = None
    hold: str | None = None

    @property
    def id(self) -> str:
        """The id that a new run gets."""
        return self.start.id or self.start.fresh


def enqueue(call: Call, history: History, queued_run: Callable[[], QueuedRun], now: float) -> Generator[Any, Any, End]:
    """A workflow enqueues a run: its row and the record of the call are one transaction.

    Args:
        call: the record's call; its value is the id of the run.
        history: of the workflow.
        queued_run: makes the run; called when it turns out to be needed.
        now: in seconds since the epoch.
    """
    record = yield from recorded(call, history)
    if record is not None:
        return recall(call, history, record)
    queued = queued_run()
    payload, value = call.spec.plan.round_trip(queued.id)
    row = history.row(call, "done", payload, now, 0.0, 1)
    yield Save(history.with_notes((row,)), enqueue=queued)
    if queued.dedup is None and not queued.start.once:
        return Succeeded(value, call.seq)
    return recall(call, history, (yield Load(None, call.seq, peek=True)))  # it may be another one
