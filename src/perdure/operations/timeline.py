"""How the calls of a run lie in time: each of them, or counted if there are many."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.operations.breakers import OpeningView, openings_of
from perdure.operations.functions import functions_of
from perdure.operations.step_rows import StepRow, every_step
from perdure.store import timeline
from perdure.store.runs import Store

MOST = 2_000
"""Calls that are given one by one."""

FINEST = 0.001
"""Seconds of a span, at least."""


class Bins(msgspec.Struct, frozen=True):
    """How many calls began in each of equal spans of time.

    Those that are done, those that failed or were given up, and dead letters; `retried` are those of all that needed
    more than one attempt.
    """

    done: list[int]
    failed: list[int]
    dead: list[int]
    retried: list[int]


class Timeline(msgspec.Struct, frozen=True):
    """How the calls of a run lie in time. `length` is in milliseconds from `began`. Of a run with many calls `calls` is
    None and `bins` counts them. `openings` are those of the breakers of its steps, at that time."""

    began: datetime | None
    length: float
    total: int
    calls: list[StepRow] | None
    bins: Bins | None
    openings: list[OpeningView] = []


def timeline_of(store: Store, run: RunRecord, bins: int = 1_000) -> Timeline:
    """How the calls of a run lie in time.

    Args:
        store: the state file.
        run: which.
        bins: into how many spans the calls of a long run are counted.

    Raises:
        StateError: the file cannot be read.
    """
    _, total = timeline.total(store, run.rid)
    found = timeline.extent(store, run.rid)
    under_way = run.status == "running" and store.holding(run) is not None
    end = run.ended or (time.time() if under_way else found[1] if found else run.started)
    length = max(end - run.created, found[1] - run.created if found else 0.0, FINEST)
    guarded = {one.options["breaker"] for one in functions_of(store, run) if "breaker" in one.options}
    opened = openings_of(store.path, run.created, end, guarded) if guarded else []
    if total <= MOST:
        return Timeline(moment(run.created), length * 1000, total, every_step(store, run, MOST), None, opened)
    width = max(length / bins, FINEST)
    counts = {status: [0] * bins for status in ("done", "failed", "dead", "retried")}
    for part in timeline.bins(store, run.rid, run.created, width):
        for place, status, count, again in part:
            place = min(max(place, 0), bins - 1)
            counts[status if status in ("done", "dead") else "failed"][place] += count
            counts["retried"][place] += again
    return Timeline(moment(run.created), length * 1000, total, None, Bins(**counts), opened)
