"""The runs of a state file, as a person sees them: `perdure ps`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from perdure.core.execution.cleanup_records import called
from perdure.core.records import RunRecord, StepRecord
from perdure.core.timestamps import moment
from perdure.core.waits import describe
from perdure.operations.queues import place_in_queue
from perdure.store import listing, waits
from perdure.store.runs import Store

Standing = Literal[
    "queued",
    "running",
    "stopping",
    "suspended",
    "interrupted",
    "failed",
    "parked",
    "done",
    "dead",
    "cancelled",
    "superseded",
]
"""How a run stands: "queued" has not begun, "suspended" waits for a time or a signal and needs no process, "stopping"
was cancelled and is on its way to a safe point, "interrupted" is unfinished with no process that runs it, "parked" has
failed too often, "dead" is done with dead letters, "superseded" is unfinished and was forked."""

MANY = 100_000


class RunView(msgspec.Struct, frozen=True):
    """A run.

    `pid` and `host` say who runs it at this moment; `steps` counts its own records, `dead_letters` also those of its
    child runs; `seconds` is the time from its beginning to its end, or as far as it is known to have come.
    `forked_from` and `superseded_by` are the ids of the run that it is a fork of, and of its newest fork.
    `waits` is what an unfinished run sleeps or waits for, in a few words, and `wake` when one that is suspended or
    queued goes on at the latest.
    """

    id: str
    workflow: str
    status: Standing
    pid: int | None
    host: str | None
    steps: int
    dead_letters: int
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    seconds: float | None
    last_step: str | None
    script: str
    child: bool
    forked_from: str | None = None
    superseded_by: str | None = None
    waits: str | None = None
    wake: datetime | None = None


def list_runs(
    store: Store,
    *,
    status: Standing | None = None,
    workflow: str | None = None,
    children: bool = False,
    limit: int | None = 20,
) -> list[RunView]:
    """Runs, newest first.

    Args:
        store: the state file.
        status: only those that stand so.
        workflow: only those of this workflow.
        children: child runs too.
        limit: how many at most; None for all.

    Raises:
        StateError: the file cannot be read.
    """
    found: list[RunView] = []
    for run in _candidates(store, status, workflow, children, limit):
        view = view_of(store, run)
        if status in (None, view.status):
            found.append(view)
            if len(found) == limit:
                break
    return found


def _candidates(
    store: Store, status: Standing | None, workflow: str | None, children: bool, limit: int | None
) -> Iterator[RunRecord]:
    # What a person calls interrupted or dead is not written down as such, so more has to be looked at than is shown.
    names = {"interrupted": "running", "stopping": "running", "dead": "done", "superseded": None}
    written = names.get(status or "", status)
    most = limit if status is None and limit is not None else MANY
    yield from store.runs(status=written, workflow=workflow, children=children, most=most)


def view_of(store: Store, run: RunRecord) -> RunView:
    """How a run stands at this moment."""
    holder = store.holding(run) if run.status == "running" else None
    last = store.last_record(run.rid)
    dead = listing.dead_letters(store, run.rid)
    status: Standing = run.status
    if run.superseded:
        status = "superseded"
    elif run.status == "running" and holder is None:
        status = "interrupted"
    elif run.status == "running" and run.stop is not None:
        status = "stopping"
    elif run.status == "done" and dead:
        status = "dead"
    return RunView(
        id=run.id,
        workflow=run.workflow,
        status=status,
        pid=holder.pid if holder else None,
        host=holder.host if holder else None,
        steps=sum(store.counts(run.rid).values()),
        dead_letters=dead,
        created=moment(run.created),
        started=moment(run.started),
        ended=moment(run.ended),
        seconds=_seconds(run, last, holder is not None),
        last_step=_last_step(store, run, last),
        script=run.path,
        child=run.parent is not None,
        forked_from=_id(store, run.forked_from),
        superseded_by=_id(store, run.superseded_by),
        waits=_waits(store, run),
        wake=moment(run.wake),
    )


def _waits(store: Store, run: RunRecord) -> str | None:
    if run.status == "queued":
        return place_in_queue(store, run, time.time()).line
    if run.status not in ("running", "suspended") or not (found := waits.standing_of(store, run.rid)):
        return None
    return describe(found, time.time())


def _id(store: Store, rid: int | None) -> str | None:
    return None if rid is None else store.run_by_number(rid).id


def _last_step(store: Store, run: RunRecord, last: StepRecord | None) -> str | None:
    """The step that the run came to: the one that failed, if none was saved after that."""
    name = called(last.kind, last.name, last.input)[0] if last else None
    if run.status not in ("running", "failed", "parked"):
        return name
    failed = store.last_attempt(run.rid)
    return failed.name if failed and (last is None or failed.started > last.started) else name


def _seconds(run: RunRecord, last: StepRecord | None, alive: bool) -> float | None:
    if run.ended is not None:
        return max(run.ended - run.created, 0.0)
    if alive:
        return max(time.time() - run.created, 0.0)
    return max(last.started + last.ms / 1000 - run.created, 0.0) if last else None
