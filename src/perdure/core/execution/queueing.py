"""A run that is to begin later, by a worker: what is asked for, and how a workflow asks for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import msgspec

from perdure.core.execution.call import recall, unrecorded
from perdure.core.execution.call_end import End, Succeeded, exempt
from perdure.core.execution.effects import Load, Save
from perdure.core.execution.history import History
from perdure.core.execution.run_effects import Start
from perdure.core.execution.spec import Call

DEFAULT = "default"
"""The queue of runs that were enqueued without naming one."""


class QueuedRun(msgspec.Struct, frozen=True, gc=False):
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


def enqueue(
    calls: Sequence[Call],
    history: History,
    queued_runs: Callable[[list[Call]], list[QueuedRun]],
    now: float,
    *,
    left: Callable[[str, bytes], str | None],
    named: str | None,
) -> Generator[Any, Any, list[End]]:
    """A workflow enqueues runs: their rows and the records of the calls are one transaction.

    All calls claim their records before one that has none is judged, so a row that an edit has added is no drift.

    Args:
        calls: those of the records; the value of each is the id of its run.
        history: of the workflow.
        queued_runs: makes the runs of calls, in their order; called for those that turn out to be needed.
        now: in seconds since the epoch.
        left: finds an unfinished child run.
        named: the id that the caller gave: it may stand for a run with other inputs, and the call fails then.
    """
    ends: dict[int, End] = {}
    new: list[Call] = []
    for call, seq in [(each, history.claim(each)) for each in calls]:
        if seq is not None and not history.is_abandoned(seq):
            record = yield Load(call, seq)
        else:
            record = yield from unrecorded(call, history, seq)
        if record is None:
            new.append(call)
        else:
            ends[id(call)] = recall(call, history, record)
    if new and history.resumed:
        from perdure.core.execution.drift import refuse_begun_otherwise

        for call in new:
            yield from refuse_begun_otherwise(call, call.args[0], history, left, named)
    if new:
        runs = queued_runs(new)
        pairs = [call.spec.plan.round_trip(run.id) for call, run in zip(new, runs, strict=True)]
        rows = tuple(
            history.row(call, "done", payload, now, 0.0, 1) for call, (payload, _) in zip(new, pairs, strict=True)
        )
        yield Save(history.with_notes(rows), enqueue=tuple(runs), aftermath=exempt(*new))
        for call, run, (_, value) in zip(new, runs, pairs, strict=True):
            if run.dedup is None and not run.start.once and not named:
                ends[id(call)] = Succeeded(value, call.seq)
            else:  # it may be another one, or none
                record = yield Load(None, call.seq, peek=True)
                ends[id(call)] = recall(call, history, record, replayed=False)
    return [ends[id(call)] for call in calls]
