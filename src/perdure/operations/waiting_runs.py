"""The runs that wait and need no process meanwhile: a page of `perdure ui`."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.operations.open_questions import unanswered, waited_for
from perdure.operations.queues import place_in_queue
from perdure.store import approvals, run_pages, waits
from perdure.store.damaged_rows import LOOK, if_sound
from perdure.store.run_pages import DamagedRun
from perdure.store.runs import Store


class WaitView(msgspec.Struct, frozen=True):
    """A run that waits and needs no process meanwhile: for what, since when, and when it goes on at the latest.

    `asks` is what it asks, if it waits for approvals; of a `queued` run, `text` says which place it has. Of a "damaged"
    one it is not known for what it waits.
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
    found: dict[int, RunRecord] = {run.rid: run for run in approvals.asking(store, most)}
    damaged: list[DamagedRun] = []
    more = []
    for status in ("suspended", "queued"):
        newest, unread = run_pages.newest(store, most + 1, status)
        more += [status] if len(newest) + len(unread) > most else []
        found.update((run.rid, run) for run in newest[:most])
        damaged += unread
    views = [
        if_sound(partial(_wait, store, run, now), partial(_damaged, run_pages.damaged(run))) for run in found.values()
    ]
    return [*views, *map(_damaged, damaged)], more


def _damaged(run: DamagedRun) -> WaitView:
    return WaitView(run.id, run.workflow, "damaged", LOOK, None, None)


def _wait(store: Store, run: RunRecord, now: float) -> WaitView:
    if run.status == "queued":
        text, asked = place_in_queue(store, run, now).line, []
    else:
        text, asked = waited_for(store, run, waits.standing_of(store, run.rid), now), unanswered(store, run)
    return WaitView(run.id, run.workflow, run.status, text, moment(run.started), moment(run.wake), asked)
