"""The addresses that look at runs: their lists, one run, its calls in time, its steps, and what it has logged."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from perdure.core.records import RunRecord, StepRecord
from perdure.errors import NotFound
from perdure.operations import ps, run_views
from perdure.operations.call_facts import CallFacts, call_facts
from perdure.operations.find_run import find_run
from perdure.operations.location import opened
from perdure.operations.run_counts import RunCounts, run_counts
from perdure.operations.run_log import Level, LogView, log_of
from perdure.operations.show import RunDetails, details_of, run_details
from perdure.operations.step_rows import Show, StepFilter, StepRows, step_rows
from perdure.operations.step_views import StepView
from perdure.operations.timeline import Timeline, timeline_of
from perdure.operations.why import Why, explain
from perdure.store.runs import Store
from perdure.store.step_pages import Order
from perdure.web.endpoints import Desk, Limit, Names, Nothing, number


class RunsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs: how they stand, of which workflow, with which text in id or inputs; `after`: `next` of a page."""

    status: run_views.Standing | None = None
    workflow: str | None = None
    children: bool = False
    q: str | None = None
    after: str | None = None
    limit: Limit = 50


def runs(desk: Desk, names: Names, given: RunsQuery) -> ps.RunPage:
    """The runs, newest first."""
    wanted = ps.RunFilter(given.status, given.workflow, given.children, text=given.q or None)
    with opened(desk.location) as store:
        return ps.runs_page(store, wanted, cursor=given.after, limit=given.limit)


class CountsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs are counted: of which workflow, and child runs too."""

    workflow: str | None = None
    children: bool = False


def counts(desk: Desk, names: Names, given: CountsQuery) -> RunCounts:
    """How many runs stand how, as far as counting that is cheap."""
    with opened(desk.location) as store:
        return run_counts(store, given.workflow, given.children)


def run(desk: Desk, names: Names, given: Nothing) -> RunDetails:
    """A run without its steps; an id's beginning suffices."""
    with opened(desk.location, names["run"]) as store:
        return run_details(store, names["run"], limit=0)


def why(desk: Desk, names: Names, given: Nothing) -> Why:
    """Why a run is not moving, and the commands that help."""
    with opened(desk.location, names["run"]) as store:
        return explain(store, find_run(store, names["run"]), desk.location)


class TimelineQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Into how many spans of time the calls are counted where they are many, and which part of the run is shown
    (milliseconds from its start)."""

    bins: Annotated[int, Meta(ge=10, le=1_200)] = 1_000
    since: Annotated[float, Meta(ge=0)] | None = None
    until: Annotated[float, Meta(ge=0)] | None = None


def timeline(desk: Desk, names: Names, given: TimelineQuery) -> Timeline:
    """How the calls of a run lie in time."""
    with opened(desk.location, names["run"]) as store:
        return timeline_of(store, find_run(store, names["run"]), given.bins, given.since, given.until)


class StepsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which steps: which of them, of a name or a map, with a text, begun in a time, that took long (milliseconds).

    `after`: `next` of a page, or a number: with `sort=first` the records behind it.
    """

    after: str | None = None
    show: Show = "all"
    sort: Order = "first"
    step: str | None = None
    map: Annotated[int, Meta(ge=1)] | None = None
    q: str | None = None
    since: float | None = None
    until: float | None = None
    longer: Annotated[int, Meta(ge=0)] | None = None
    limit: Limit = 100


def steps(desk: Desk, names: Names, given: StepsQuery) -> StepRows:
    """The steps of a run, in the order in which they were saved, or the slowest first."""
    wanted = StepFilter(given.step, given.show, given.map, given.since, given.until, given.longer, given.q)
    with opened(desk.location, names["run"]) as store:
        run = find_run(store, names["run"])
        return step_rows(store, run, wanted, order=given.sort, cursor=given.after, limit=given.limit)


def step(desk: Desk, names: Names, given: Nothing) -> StepView:
    """One step in full, its inputs and result as plain data."""
    seq = number(names["seq"], "step")
    with opened(desk.location, names["run"]) as store:
        found = find_run(store, names["run"])
        shown = details_of(store, found, limit=1, before=seq + 1, data=True).steps
    if not shown or shown[-1].seq != seq:
        raise _no_such_step(found, seq)
    return shown[-1]


def _no_such_step(run: RunRecord, seq: int) -> NotFound:
    return NotFound(f"run {run.id} has no step #{seq}", "choose one of those that it lists")


def call(desk: Desk, names: Names, given: Nothing) -> CallFacts:
    """What is known of a call besides its record."""
    seq = number(names["seq"], "step")
    with opened(desk.location, names["run"]) as store:
        found = find_run(store, names["run"])
        return call_facts(store, found, record_of(store, found, seq))


def record_of(store: Store, run: RunRecord, seq: int) -> StepRecord:
    """The record of that number.

    Raises:
        NotFound: the run has none.
        StateError: the file cannot be read.
    """
    record = next(iter(store.records(run.rid, seq, 1)), None)
    if record is None or record.seq != seq:
        raise _no_such_step(run, seq)
    return record


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines: of the call with that record, or of all calls of that step; of a level, or graver; with a text; the
    last ones, or the last ones up to a moment."""

    seq: Annotated[int, Meta(ge=1)] | None = None
    step: str | None = None
    level: Level | None = None
    q: str | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    limit: Limit = 200


class Log(msgspec.Struct, frozen=True):
    """What attempts have logged and printed, oldest first. `earlier`: there are more lines before these."""

    lines: list[LogView]
    earlier: bool


def log(desk: Desk, names: Names, given: LogQuery) -> Log:
    """What the attempts of a run have logged and printed."""
    with opened(desk.location, names["run"]) as store:
        found = find_run(store, names["run"])
        record = None if given.seq is None else record_of(store, found, given.seq)
        lines = log_of(
            store, found, step=given.step, call=record, limit=given.limit + 1, level=given.level, text=given.q or None,
            until=given.until,
        )  # fmt: skip
    return Log(lines[-given.limit :], len(lines) > given.limit)
