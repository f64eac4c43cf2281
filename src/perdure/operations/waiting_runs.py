"""The runs that wait and need no process meanwhile: a page of `perdure ui`."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.operations.open_questions import unanswered, waited_for
from perdure.operations.queues import place_in_queue
from perdure.store import approvals, waits
from perdure.store.runs import Store


class WaitView(msgspec.Struct, frozen=True):
    """A run that waits and needs no process meanwhile: for what, since when, and when it goes on at the latest.

    `asks` is what it asks, if it waits for approvals; of a `queued` run, `text` says which place it has.
    """

    run: str
    workflow: str
    status: str
    text: str
    since: datetime | None
    wake: datetime | None
    asks: list[str] = []


def waiting_runs(store: Store, most: int = 100) -> tuple[list[WaitView], list[str]]:
    """The runs that are suspended or queued: those that ask somebody, the oldest first, then the newest of each.

    Args:
        store: the state file.
        most: how many of each.

    Returns:
        Them, and of "suspended" and "queued" those of which there are more.

    Raises:
        StateError: the file cannot be read.
    """
    now = time.time()
    found = {run.rid: run for run in approvals.asking(store, most)}
    more = []
    for status in ("suspended", "queued"):
        newest = store.runs(status=status, most=most + 1)
        more += [status] if len(newest) > most else []
        found.update((run.rid, run) for run in newest[:most])
    return [_wait(store, run, now) for run in found.values()], more


def _wait(store: Store, run: RunRecord, now: float) -> WaitView:
    if run.status == "queued":
        text, asked = place_in_queue(store, run, now).line, []
    else:
        text, asked = waited_for(store, run, waits.standing_of(store, run.rid), now), unanswered(store, run)
    return WaitView(run.id, run.workflow, run.status, text, moment(run.started), moment(run.wake), asked)
