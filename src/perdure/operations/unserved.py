"""What is due or stands in a queue, and no worker serves: what `perdure doctor` says of the runs that wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from shlex import quote

import msgspec

from perdure.core.durations import show
from perdure.store import claims, queue_listing, schedules
from perdure.store.runs import Store
from perdure.store.workers import living

LATE = 10.0
"""Seconds that a worker may take until it has seen what is due."""


class Unserved(msgspec.Struct, frozen=True):
    """What waits, and the command that serves it."""

    name: str
    finding: str
    hint: str


def unserved(store: Store, now: float) -> Iterator[Unserved]:
    """What no living worker serves.

    Args:
        store: the state file.
        now: in seconds since the epoch.

    Raises:
        StateError: the file cannot be read.
    """
    alive = living(store.path)
    due = [
        run
        for run in claims.overdue(store, now - LATE)
        if run.status == "suspended" and not any(one.serves(run.script, run.workflow, run.queue) for one in alive)
    ]
    if due:
        first = min(due, key=lambda run: run.wake or now)
        waits = "1 run is" if len(due) == 1 else f"{len(due)} runs are"
        finding = f"{waits} due, the first ({first.id}) since {show(now - (first.wake or now))}; no worker goes on"
        yield Unserved("due", finding, _serve(first.path))
    for line in queue_listing.unserved(store, now):
        waits = "1 run" if line.runs == 1 else f"{line.runs:,} runs"
        finding = f"{waits} of {line.workflow} in queue {line.queue}, the first for {show(max(now - line.since, 0.0))}"
        yield Unserved("queue", f"{finding}; no worker serves it", _serve(line.path))
    for name in schedules.unserved(store, now - LATE):
        one = schedules.one(store, name)
        finding = f"{name} was due {show(now - (one.due or now))} ago; no worker counts it"
        yield Unserved("schedule", finding, _serve(one.path))


def _serve(path: str) -> str:
    return f"start a worker: perdure worker {quote(os.path.relpath(path)) if path else 'FILE'}"
