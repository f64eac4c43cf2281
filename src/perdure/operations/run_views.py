"""Runs as a person sees them in a list: how each stands at this moment, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Literal

import msgspec

from perdure.config import secrets
from perdure.core.execution.cleanup_records import called
from perdure.core.execution.run_effects import HolderInfo
from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.store import run_pages, waits
from perdure.store.damaged_rows import LOOK, if_sound
from perdure.store.run_pages import DamagedRun, Facts
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
    "damaged",
]
"""How a run stands: "queued" has not begun, "suspended" waits for a time or a signal and needs no process, "stopping"
was cancelled and is on its way to a safe point, "interrupted" is unfinished with no process that runs it, "parked" has
failed too often, "dead" is done with dead letters, "superseded" is unfinished and was forked, "damaged" cannot be told:
a record that says so is not as it was written."""

BEING_CANCELLED = "it was being cancelled: whoever goes on with it ends it, and executes nothing more"
"""Of a run that no process executes."""

INPUTS = 120
"""Characters."""


class RunView(msgspec.Struct, frozen=True):
    """A run.

    `pid` and `host` say who runs it at this moment; `steps` counts its own records, `dead_letters` also those of its
    child runs; `seconds` is the time from its beginning to its end, or as far as it is known to have come.
    `forked_from` and `superseded_by` are the ids of the run that it is a fork of, and of its newest fork.
    `waits` is what an unfinished run sleeps or waits for, or that it was being cancelled, in a few words, and `wake`
    when one that is suspended or queued goes on at the latest. `inputs` are in one line, and so is the `error` of one
    that has failed. Of a damaged one there is what is still known; its id and workflow may be damaged too. If not
    `counted`, there are too many steps to be counted for a listing: `steps` is the number of the last one.
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
    inputs: str = ""
    error: str | None = None
    counted: bool = True


def standings_of(store: Store, runs: Sequence[RunRecord]) -> list[Standing]:
    """How runs that have not ended stand at this moment."""
    damaged: list[Standing] = ["damaged"]

    def each() -> list[Standing]:
        return [if_sound(partial(_standings, store, [run]), lambda: damaged)[0] for run in runs]

    return if_sound(partial(_standings, store, runs), each)


def _standings(store: Store, runs: Sequence[RunRecord]) -> list[Standing]:
    holders = holders_of(store, runs)
    return [standing_of(run, holders.get(run.rid), 0) for run in runs]


def view_of(store: Store, run: RunRecord) -> RunView:
    """How a run stands at this moment.

    Raises:
        StateCorrupt: a record that says so is not as it was written.
    """
    return _views(store, [run], inputs=True)[0]


def views_of(store: Store, runs: Sequence[RunRecord], *, inputs: bool = True) -> list[RunView]:
    """How runs stand at this moment, also of which something is damaged; with what they were called with, if `inputs`
    says so.

    Raises:
        StateError: the file cannot be read.
    """
    if not runs:
        return []

    def one(run: RunRecord) -> RunView:
        known = run_pages.damaged(run)
        return if_sound(partial(_views, store, [run], inputs), lambda: [damaged_view(store, known, run)])[0]

    return if_sound(partial(_views, store, runs, inputs), lambda: list(map(one, runs)))


def _views(store: Store, runs: Sequence[RunRecord], inputs: bool) -> list[RunView]:
    facts, holders = run_pages.facts_of(store, runs), holders_of(store, runs)
    related = {rid for run in runs for rid in (run.forked_from, run.superseded_by) if rid is not None}
    ids = {rid: f"(run number {rid} is missing)" for rid in related} | run_pages.ids_of(store, sorted(related))
    views = [_view(store, run, facts[run.rid], holders.get(run.rid), ids, inputs) for run in runs]
    return [
        msgspec.structs.replace(view, status="cancelled") if _is_below_cancelled(store, run) else view
        for run, view in zip(runs, views, strict=True)
    ]


def _is_below_cancelled(store: Store, run: RunRecord) -> bool:
    """Has a child run failed that nothing goes on with, since a run that it is a child of was cancelled?"""
    if run.status != "failed" or run.superseded:
        return False
    seen = set()
    while run.parent is not None and run.parent not in seen:  # a damaged file may have a circle
        seen.add(run.parent)
        run = store.run_by_number(run.parent)
        if run.status == "cancelled":
            return True
    return False


def damaged_view(store: Store, known: DamagedRun, run: RunRecord | None = None) -> RunView:
    """What is known of a run of which something is damaged: its own row, or (of `run`) another that a listing shows."""
    return RunView(
        id=known.id,
        workflow=known.workflow,
        status="damaged",
        pid=None,
        host=None,
        steps=run_pages.count_steps(store, known.rid),
        dead_letters=0,
        created=moment(run.created) if run else None,
        started=moment(run.started) if run else None,
        ended=moment(run.ended) if run else None,
        seconds=None,
        last_step=None,
        script=run.path if run else "",
        child=run is not None and run.parent is not None,
        error=LOOK,
    )


def holders_of(store: Store, runs: Sequence[RunRecord]) -> dict[int, HolderInfo]:
    """Who executes them at this moment, by their numbers; each process is looked for once."""
    known: dict[int, HolderInfo | None] = {}
    found = {}
    for run in runs:
        if run.status != "running":
            continue
        holder = known[run.holder] if run.holder in known else store.holding(run)
        if run.holder is not None:
            known[run.holder] = holder
        if holder is not None:
            found[run.rid] = holder
    return found


def standing_of(run: RunRecord, holder: HolderInfo | None, dead: int) -> Standing:
    """How a run stands, that `holder` executes, with so many dead letters."""
    if run.superseded:
        return "superseded"
    if run.status == "running" and holder is None:
        return "interrupted"
    if run.status == "running" and run.stop is not None:
        return "stopping"
    return "dead" if run.status == "done" and dead else run.status


def _view(
    store: Store, run: RunRecord, facts: Facts, holder: HolderInfo | None, ids: dict[int, str], inputs: bool
) -> RunView:
    failed = run.status in ("failed", "parked")
    whole = store.shown(run if failed else msgspec.structs.replace(run, output=None))
    return RunView(
        id=run.id,
        workflow=run.workflow,
        status=standing_of(run, holder, facts.dead_letters),
        pid=holder.pid if holder else None,
        host=holder.host if holder else None,
        steps=facts.steps,
        dead_letters=facts.dead_letters,
        created=moment(run.created),
        started=moment(run.started),
        ended=moment(run.ended),
        seconds=_seconds(run, facts, holder is not None),
        last_step=_last_step(store, run, facts),
        script=run.path,
        child=run.parent is not None,
        forked_from=ids.get(run.forked_from or 0),
        superseded_by=ids.get(run.superseded_by or 0),
        waits=_waits(store, run, holder),
        wake=moment(run.wake),
        inputs=secrets.describe_inputs(whole.input, INPUTS) if inputs else "",
        error=_error(whole.output) if failed and whole.output is not None else None,
        counted=facts.exact,
    )


def _error(packed: bytes) -> str:
    from perdure.operations.stored_failures import error_line

    return error_line(packed)


def _waits(store: Store, run: RunRecord, holder: HolderInfo | None) -> str | None:
    if run.status == "running" and holder is None and run.stop is not None and not run.superseded:
        return BEING_CANCELLED
    if run.status == "queued":
        from perdure.operations.queues import place_in_queue

        return place_in_queue(store, run, time.time()).line
    if run.status == "suspended" and run.hold is not None:
        from perdure.store import runs_on_hold

        return secrets.conceal(f"it is on hold: {runs_on_hold.reason_of(run.hold)}")
    if run.status not in ("running", "suspended") or not (found := waits.standing_of(store, run.rid)):
        return None
    from perdure.operations.open_questions import waited_for

    return waited_for(store, run, found, time.time())


def _last_step(store: Store, run: RunRecord, facts: Facts) -> str | None:
    """The step that the run came to: the one that failed, if none was saved after that."""
    last, tried = facts.last, facts.tried
    if tried is not None and (last is None or tried.started > last.started):
        return tried.name
    if last is None or last.kind != "defer":
        return last.name if last else None
    return called(last.kind, last.name, store.shown(last).input)[0]


def _seconds(run: RunRecord, facts: Facts, alive: bool) -> float | None:
    if run.begun is None:
        return None
    if run.ended is not None:
        until = run.ended
    elif alive:
        until = time.time()
    elif facts.until:
        until = facts.until
    else:
        return None
    return max(until - run.begun, 0.0)
