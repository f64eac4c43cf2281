"""One run in full: `perdure show`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.policies.verdicts import Verdict
from perdure.core.records import PROGRESS, RunRecord, StepRecord
from perdure.core.redaction.names import HIDDEN, is_secret
from perdure.core.run_notes import UNSAVED
from perdure.core.timestamps import moment
from perdure.operations.find_run import find_id
from perdure.operations.find_step import check_name
from perdure.operations.functions import FunctionView, functions_of
from perdure.operations.kept_counts import counted
from perdure.operations.maps import MapView, maps_of
from perdure.operations.processes import ProcessView, Suspect, process_of, suspects_of
from perdure.operations.ps import RunFilter, runs_page
from perdure.operations.run_views import RunView, damaged_view, views_of
from perdure.operations.sessions import SessionView, sessions_of
from perdure.operations.step_groups import StepGroup, groups_of
from perdure.operations.step_views import (
    AS_DATA,
    AS_TEXT,
    ErrorView,
    OpenStep,
    StepView,
    Values,
    error_view,
    open_steps,
    steps_of,
)
from perdure.operations.stored_failures import kind_of_note, verdict_of
from perdure.store import lineage, published, run_pages, signals, step_pages
from perdure.store.damaged_rows import Damage, if_sound
from perdure.store.kept_runs import kept_runs
from perdure.store.record_queries import CHUNK
from perdure.store.runs import Store
from perdure.store.step_pages import DamagedStep, Wanted
from perdure.store.unknown_calls import unknown_calls

NOT_DONE = 20
"""Calls of a step with many that are shown, of those that were not done."""

OPEN = 200
"""Calls without a record that are shown, and child runs."""


class SentView(msgspec.Struct, frozen=True):
    """A signal that no wait has taken. `aside`: why its value did not fit the wait that it was for; else None."""

    event: str
    key: str
    id: str | None
    value: Any
    sent: datetime | None
    aside: str | None


class ProgressView(msgspec.Struct, frozen=True):
    """How far the workflow said last that it is, in its own unit; `total` is None if that is not known.

    `left` is how many seconds the rest takes at the rate so far; None if the run does not go on, or was resumed.
    """

    done: float
    total: float | None
    note: str
    at: datetime | None
    left: float | None = None


class RunDetails(msgspec.Struct, frozen=True):
    """A run in full.

    Inputs and results are text, or plain data if asked for. `groups` says of each step how many calls there are in all
    of the run, and what became of them. `steps` are some of them, `earlier` is how many were left out at the beginning,
    and `before` the number of the first that was not; `earlier_children` likewise. Of steps that are `folded`, only
    some calls are among them. `parent` is the id of the run whose
    child this is. `process` is who executes it, or did when it died; `suspects` are the calls that crashes speak
    against; `notes` say what was noticed: calls that were not saved, and the `remarks`. `verdict` is what was known of
    `error` when it happened. `signals` are those that no wait has taken, `published` is what it has published by name.
    `sessions` are the processes that
    executed it, `maps` its maps, `functions` what is known of its code. `command_line` is what its script was given, as
    it is typed, without credentials; None if that is nothing, or not known. `folder` is where it was given, if a
    relative path in it names something else where it is shown. `kept` says which runs stay as they are that it has
    called or enqueued, if it was undone or cancelled; `unknown` then says which of its calls were under way when a
    process died, and were not made again. `damaged` names what is not as it was written, and not shown.
    """

    run: RunView
    inputs: Any
    result: Any
    error: ErrorView | None
    parent: str | None
    earlier: int
    steps: list[StepView]
    open: list[OpenStep]
    children: list[RunView]
    process: ProcessView | None = None
    suspects: list[Suspect] = []
    notes: list[str] = []
    remarks: list[str] = []
    verdict: Verdict | None = None
    signals: list[SentView] = []
    published: dict[str, Any] = {}
    progress: ProgressView | None = None
    groups: list[StepGroup] = []
    folded: list[str] = []
    before: int | None = None
    earlier_children: int = 0
    sessions: list[SessionView] = []
    maps: list[MapView] = []
    functions: list[FunctionView] = []
    command_line: str | None = None
    folder: str | None = None
    kept: str | None = None
    unknown: str | None = None
    damaged: list[str] = []


def run_details(store: Store, reference: str, **options: Any) -> RunDetails:
    """The run that is meant, in full, as `details_of` has it; also one whose own row is damaged.

    Raises:
        NotFound: none is, or several are.
        StateError: the file cannot be read.
    """
    return details_of(store, *find_to_show(store, reference), **options)


def find_to_show(store: Store, reference: str) -> tuple[RunRecord, bool]:
    """The run that is meant, and whether its row is damaged: then as much of it as finds its steps."""
    id = find_id(store, reference)
    return if_sound(lambda: (store.run(id), False), lambda: (run_pages.damaged_of(store, id), True))


def details_of(
    store: Store,
    run: RunRecord,
    damaged: bool = False,
    *,
    step: str | None = None,
    limit: int | None = None,
    before: int | None = None,
    data: bool = False,
    fold: int | None = None,
) -> RunDetails:
    """A run in full.

    Args:
        store: the state file.
        run: which.
        damaged: is its own row damaged? Then what that says is not shown.
        step: only the steps of this name.
        limit: how many steps at most, the last ones; None for all.
        before: only steps whose record has a lower number than this.
        data: give inputs and results as plain data, as large as they are, rather than as text of bounded length.
        fold: of steps that were called so many times or more, only the last calls that were not done are among `steps`.

    Raises:
        NotFound: no step has that name.
        StateError: the file cannot be read.
    """
    if step is not None:
        check_name(store, run, step)
    show = AS_DATA if data else AS_TEXT
    groups = groups_of(store, run)
    folded = tuple({one.step for one in groups if fold is not None and one.calls >= fold})
    damage = Damage()
    if damaged:
        damage.found.append("its own row")
    records = _last(store, run, Wanted(name=step, but=folded), before, limit)
    earlier = 0
    if limit is not None:
        first = records[0].seq if records else before
        earlier = counted(
            store, run, ("count", step, first, folded), lambda: step_pages.count(store, run.rid, step, first, folded)
        )
    for name in folded:
        records += _last(store, run, Wanted(name=name, status="not done"), before, NOT_DONE)
    records.sort(key=lambda one: one.seq)
    failed = run.status == "failed"
    left = failed or run.status == "parked" or (run.status == "running" and run.holder is None)
    stop = store.stopped_by(run) if left else None
    shown = damage.part("what it has published", partial(published.of_run, store, run.rid), list[published.Published]())
    error = run.output if failed else stop.error if stop is not None and run.status == "running" else None
    children = runs_page(store, RunFilter(parent=run.rid), limit=OPEN).runs
    sent = damage.part("its signals", partial(signals.not_taken, store, run.rid), list[signals.Letter]())
    line = damage.part("its command line", partial(store.command_line, run), None)
    noted = damage.part("its notes", partial(_notes, store, run), list[tuple[str, str]]())
    return RunDetails(
        run=damaged_view(store, run_pages.damaged(run)) if damaged else views_of(store, [run])[0],
        inputs=(None if data else "") if damaged else show.inputs(run.input),
        result=show.value(run.output) if run.output is not None and not failed else None,
        error=error_view(error) if error else None,
        parent=damage.part("the run that it is a child of", partial(_parent, store, run), None),
        earlier=earlier,
        before=records[0].seq if records else None,
        steps=_steps(store, run, records, show, damage, _behind(store, run, damage)),
        open=damage.part(
            "what was tried", partial(open_steps, store, run, show, step=step, most=OPEN), list[OpenStep]()
        ),
        children=children[::-1],
        earlier_children=store.count_children(run.rid) - len(children),
        process=damage.part("the process that had it", partial(process_of, store, run), None),
        suspects=damage.part("its crashes", partial(suspects_of, store, run), list[Suspect]()),
        notes=[text for _, text in noted],
        remarks=[text for kind, text in noted if kind != UNSAVED],
        verdict=verdict_of(run.path, stop.verdict if stop is not None else None, error) if error else None,
        signals=[
            SentView(one.event, one.topic, one.id, _under(one.event, one.value, show), moment(one.stamp), one.reason)
            for one in sent
        ],
        published={one.name: _under(one.name, one.value, show) for one in shown if one.name != PROGRESS},
        progress=next((_progress(one, run, time.time()) for one in shown if one.name == PROGRESS), None),
        sessions=sessions_of(store, run, damage),
        folded=sorted(folded),
        maps=maps_of(store, run, damage),
        functions=damage.part("what is known of its code", partial(functions_of, store, run), list[FunctionView]()),
        command_line=line.shown() if line is not None else None,
        folder=os.fsdecode(line.folder) if line is not None and line.elsewhere() is not None else None,
        kept=damage.part("what it called", partial(kept_runs, store, run.rid, run.status), None),
        unknown=damage.part("what was under way", partial(unknown_calls, store, run, run.status), None),
        groups=groups if step is None else [one for one in groups if one.step == step],
        damaged=damage.found,
    )


def _notes(store: Store, run: RunRecord) -> list[tuple[str, str]]:
    """What is noted of a run: of which kind each note is (`core/run_notes.py`), and its text."""
    return [(kind_of_note(note), error_view(note.error).message) for note in store.notes(run.rid)]


def _parent(store: Store, run: RunRecord) -> str | None:
    return store.run_by_number(run.parent).id if run.parent is not None else None


def _behind(store: Store, run: RunRecord, damage: Damage) -> Callable[[int], bool]:
    return damage.part("the run that it is a fork of", partial(lineage.behind, store, run), lambda seq: False)


def _steps(
    store: Store,
    run: RunRecord,
    records: Sequence[StepRecord | DamagedStep],
    show: Values,
    damage: Damage,
    behind: Callable[[int], bool],
) -> list[StepView]:
    intact = []
    for record in records:
        if isinstance(record, StepRecord):
            intact.append(record)
        else:
            damage.found.append(f"step #{record.seq} ({record.name})")

    def each() -> list[StepView]:
        found: list[StepView] = []
        for one in intact:
            what = f"what is kept of step #{one.seq} ({one.name})"
            found += damage.part(what, partial(steps_of, store, run, [one], show, behind), list[StepView]())
        return found

    return if_sound(partial(steps_of, store, run, intact, show, behind), each)


def each_step(store: Store, run: RunRecord, step: str | None, damaged: list[str]) -> Iterator[StepView]:
    """The steps of a run with plain data, in the order of their records; a page of them is kept in memory.

    What is damaged of them is named in `damaged`, to which it is added.
    """
    damage = Damage(damaged)
    behind = if_sound(partial(lineage.behind, store, run), lambda: lambda seq: False)  # that is named already
    at: tuple[int, int] | None = step_pages.beginning(store, run.rid, "first")
    while at is not None:
        found, at = step_pages.listed(store, run.rid, Wanted(name=step), "first", at, CHUNK)
        yield from _steps(store, run, found, AS_DATA, damage, behind)


def _last(
    store: Store, run: RunRecord, wanted: Wanted, before: int | None, limit: int | None
) -> list[StepRecord | DamagedStep]:
    """The last records that are meant, so many of them, in their order, with those that are damaged."""
    at: tuple[int, int] | None = step_pages.beginning(store, run.rid, "last") if before is None else (0, before)
    found: list[StepRecord | DamagedStep] = []
    while at is not None and (limit is None or len(found) < limit):
        most = CHUNK if limit is None else min(limit - len(found), CHUNK)
        some, at = step_pages.listed(store, run.rid, wanted, "last", at, most)
        found += some
    return found[::-1]


def _under(name: str, data: bytes, show: Values) -> Any:
    """A value as it is shown under a name, which may say that it is secret."""
    return HIDDEN if is_secret(name) else show.value(data)


def _progress(one: published.Published, run: RunRecord, now: float) -> ProgressView:
    done, total, note = secrets.to_builtins(one.value)
    at_first = run.status == "running" and run.started == run.created  # else others have done a part, at another time
    left = time_left(done, total, one.stamp - run.started, now - one.stamp) if at_first else None
    return ProgressView(done, total, note, moment(one.stamp), left)


def time_left(done: float, total: float | None, took: float, since: float) -> float | None:
    """How many seconds the rest takes at the rate so far; None if that cannot be said.

    Args:
        done: how much is done.
        total: of how much; None if that is not known.
        took: seconds that it took.
        since: seconds since then.
    """
    if total is None or not 0 < done < total or took <= 0:
        return None
    left = took * (total - done) / done - since
    return max(left, 0.0) if math.isfinite(left) else None  # perdure has stored any float once
