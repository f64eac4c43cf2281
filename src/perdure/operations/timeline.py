"""How the calls of a run lie in time: each of them, or counted if there are many."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.operations.breakers import OpeningView, openings_of
from perdure.operations.functions import FunctionView, functions_of
from perdure.operations.kept_counts import counted
from perdure.operations.processes import ProcessView, process_of
from perdure.operations.step_rows import Rows, StepRow, Try, every_step
from perdure.store import lives, step_pages, timeline
from perdure.store.damaged_rows import if_sound
from perdure.store.runs import Store
from perdure.store.step_pages import Wanted

MOST = 2_000
"""Calls that are given one by one."""

FEW = 200
"""Calls without a record, and attempts that were broken off, that are given."""

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


class OpenCall(msgspec.Struct, frozen=True):
    """A call that was tried, failed, and has no record: what ended the run, or is being tried still."""

    name: str
    inputs: str
    failures: list[Try]


class BrokenOff(msgspec.Struct, frozen=True):
    """An attempt that ended with its process: when it began, in milliseconds from the start of the run, how long it
    took until then, and how the process ended."""

    name: str
    attempt: int
    at: float
    ms: float
    cause: str


class Timeline(msgspec.Struct, frozen=True):
    """How the calls of a run lie in time. `length` is in milliseconds from `began`; `since` and `until`, too, are the
    part of it that is shown, all of it unless a part was asked for. If many calls are in that, `calls` is None and
    `bins` counts them. `openings` are those of the breakers of its steps, at that time. `open` are calls that
    have no record, `cut` attempts that were broken off; the last ones of many."""

    began: datetime | None
    length: float
    total: int
    calls: list[StepRow] | None
    bins: Bins | None
    openings: list[OpeningView] = []
    open: list[OpenCall] = []
    cut: list[BrokenOff] = []
    since: float = 0.0
    until: float = 0.0


def timeline_of(
    store: Store, run: RunRecord, bins: int = 1_000, since: float | None = None, until: float | None = None
) -> Timeline:
    """How the calls of a run lie in time.

    Args:
        store: the state file.
        run: which.
        bins: into how many spans the calls are counted where they are many.
        since: the part that is shown begins there, in milliseconds from the start of the run; None: at the start.
        until: it ends there; None: at the end.

    Raises:
        StateError: the file cannot be read.
    """
    total = counted(store, run, "total", lambda: timeline.total(store, run.rid)[1])
    found = counted(store, run, "extent", lambda: timeline.extent(store, run.rid))
    under_way = run.status == "running" and store.holding(run) is not None
    end = run.ended or (time.time() if under_way else found[1] if found else run.started)
    tried = if_sound(partial(_open, store, run), list[OpenCall])
    cut = if_sound(partial(_cut, store, run), list[BrokenOff])
    ends = [one.at + one.ms for one in cut] + [one.at + one.ms for call in tried for one in call.failures]
    length = max(end - run.created, found[1] - run.created if found else 0.0, FINEST, *(one / 1000 for one in ends))
    functions = partial(functions_of, store, run)
    guarded = {one.options["breaker"] for one in if_sound(functions, list[FunctionView]) if "breaker" in one.options}
    opened = openings_of(store.path, run.created, end, guarded) if guarded else []
    began, ms = moment(run.created), length * 1000
    around = (opened, tried, cut)
    first = min(max(since or 0.0, 0.0), ms)
    last = max(min(ms if until is None else until, ms), first + FINEST * 1000)
    if since is None and until is None:
        if total <= MOST:
            return Timeline(began, ms, total, every_step(store, run, MOST), None, *around, first, last)
        width = max(length / bins, FINEST)
        found_in = counted(store, run, ("bins", bins, width), lambda: _bins(store, run, bins, 0.0, width, whole=True))
        return Timeline(began, ms, total, None, found_in, *around, first, last)
    start, stop = run.created + first / 1000, run.created + last / 1000
    if counted(store, run, ("within", first, last), lambda: timeline.within(store, run.rid, start, stop)) <= MOST:
        part = every_step(store, run, MOST, Wanted(until=stop, over=start))
        return Timeline(began, ms, total, part, None, *around, first, last)
    width = max((stop - start) / bins, FINEST)
    counts = counted(
        store, run, ("bins", bins, width, first), lambda: _bins(store, run, bins, first / 1000, width, whole=False)
    )
    return Timeline(began, ms, total, None, counts, *around, first, first + width * bins * 1000)


def _bins(store: Store, run: RunRecord, bins: int, since: float, width: float, *, whole: bool) -> Bins:
    """Calls that began in each span, the first of which begins `since` seconds after the run did. All, if `whole`: what
    a clock that was set says lies beside the run is at its ends."""
    counts = {status: [0] * bins for status in ("done", "failed", "dead", "retried")}
    for part in timeline.bins(store, run.rid, run.created + since, width):
        for place, status, count, again in part:
            if whole:
                place = min(max(place, 0), bins - 1)
            elif not 0 <= place < bins:
                continue
            counts[status if status in ("done", "dead") else "failed"][place] += count
            counts["retried"][place] += again
    return Bins(**counts)


def _open(store: Store, run: RunRecord) -> list[OpenCall]:
    calls = counted(store, run, "open", lambda: step_pages.tried_without_record(store, run.rid))
    tries = sorted(step_pages.tries_of(store, run.rid, calls).values(), key=lambda each: each[0].started)[-FEW:]
    rows = Rows(store, run)
    return [OpenCall(each[0].name, rows.inputs(each[0].input), [rows.failed(one) for one in each]) for each in tries]


def _cut(store: Store, run: RunRecord) -> list[BrokenOff]:
    known = lives.list_of(store, run.rid)[-FEW:]
    ended = [
        BrokenOff(one.name, one.attempt, _since(run, one.started), max(one.ended - one.started, 0.0) * 1000, one.cause)
        for one in known
    ]
    process = process_of(store, run) if run.status == "running" and store.holding(run) is None else None
    if process is None or process.alive:
        return ended
    # Of a process that nobody has gone on after, this is known from its flight record alone, until another one begins.
    written = {(one.name, one.key.hex(), one.n, one.attempt) for one in known if abs(one.ended - _end(process)) < 1}
    return ended + [
        BrokenOff(one.step, one.attempt, _since(run, one.since.timestamp()), (one.seconds or 0.0) * 1000, process.cause)
        for one in process.in_flight
        if one.since is not None and one.run == run.id and (one.step, one.key, one.n, one.attempt) not in written
    ]


def _end(process: ProcessView) -> float:
    return 0.0 if process.ended is None else process.ended.timestamp()


def _since(run: RunRecord, moment: float) -> float:
    return round(max(moment - run.created, 0.0) * 1000, 1)
