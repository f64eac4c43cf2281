"""The addresses that look. Each opens the state file for looking only, and keeps nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from perdure.config import secrets
from perdure.core.dead_letters import LetterDetails
from perdure.core.records import RunRecord, StepRecord
from perdure.errors import NotFound
from perdure.operations import letter_input, letter_pages, overview, ps, schedules, searching, workers
from perdure.operations.accepted_inputs import Accepted, accepted_inputs
from perdure.operations.breakers import BreakerView, OpeningView, list_breakers, openings_of
from perdure.operations.call_facts import CallFacts, call_facts
from perdure.operations.dead_letters import LetterView, Selection, find_letter
from perdure.operations.dead_letters import Standing as LetterStanding
from perdure.operations.dead_letters import details_of as letter_details_of
from perdure.operations.deeds import DeedView, list_deeds
from perdure.operations.doctor import Health, examine
from perdure.operations.find_run import find_run
from perdure.operations.location import opened
from perdure.operations.queues import QueueView, list_queues
from perdure.operations.run_log import LogView, log_of
from perdure.operations.show import RunDetails, details_of
from perdure.operations.step_rows import Show, StepFilter, StepRows, step_rows
from perdure.operations.step_views import StepView
from perdure.operations.timeline import Timeline, timeline_of
from perdure.operations.why import Why, explain
from perdure.store import code, dead_letters
from perdure.store.runs import Store
from perdure.store.step_pages import Order
from perdure.web.endpoints import Desk, Endpoint, Nothing
from perdure.web.jobs import Job

LIMIT: Final = 200
"""Of a list, at most."""

Limit = Annotated[int, Meta(ge=1, le=LIMIT)]
Names = dict[str, str]


class About(msgspec.Struct, frozen=True):
    """The server: version of perdure, the state file that it shows, and whether it may change something."""

    perdure: str
    state: str
    read_only: bool


def about(desk: Desk, names: Names, given: Nothing) -> About:
    """The server."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("perdure")
    except PackageNotFoundError:
        number = "from its folder"
    return About(number, str(desk.location.path), desk.read_only)


def first_page(desk: Desk, names: Names, given: Nothing) -> overview.Overview:
    """What needs somebody, and how the rest is doing."""
    with opened(desk.location) as store:
        return overview.overview_of(store, desk.location)


class SearchQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked for; its case counts."""

    q: Annotated[str, Meta(min_length=1, max_length=1_000)]


def search(desk: Desk, names: Names, given: SearchQuery) -> searching.Found:
    """A text in runs, in their steps, and in dead letters."""
    with opened(desk.location) as store:
        return searching.search(store, given.q)


# -- runs -------------------------------------------------------------------------------------------------------------


class RunsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs: how they stand, of which workflow, with which text in id or inputs; `after`: `next` of a page."""

    status: ps.Standing | None = None
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


def run(desk: Desk, names: Names, given: Nothing) -> RunDetails:
    """A run without its steps; an id's beginning suffices."""
    with opened(desk.location, names["run"]) as store:
        return details_of(store, find_run(store, names["run"]), limit=0)


def why(desk: Desk, names: Names, given: Nothing) -> Why:
    """Why a run is not moving, and the commands that help."""
    with opened(desk.location, names["run"]) as store:
        return explain(store, find_run(store, names["run"]), desk.location)


class TimelineQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Into how many spans of time the calls of a long run are counted."""

    bins: Annotated[int, Meta(ge=10, le=1_200)] = 1_000


def timeline(desk: Desk, names: Names, given: TimelineQuery) -> Timeline:
    """How the calls of a run lie in time."""
    with opened(desk.location, names["run"]) as store:
        return timeline_of(store, find_run(store, names["run"]), given.bins)


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
    number = _number(names["seq"], "step")
    with opened(desk.location, names["run"]) as store:
        found = find_run(store, names["run"])
        shown = details_of(store, found, limit=1, before=number + 1, data=True).steps
    if not shown or shown[-1].seq != number:
        raise _no_such_step(found, number)
    return shown[-1]


def _no_such_step(run: RunRecord, number: int) -> NotFound:
    return NotFound(f"run {run.id} has no step #{number}", "choose one of those that it lists")


def call(desk: Desk, names: Names, given: Nothing) -> CallFacts:
    """What is known of a call besides its record."""
    number = _number(names["seq"], "step")
    with opened(desk.location, names["run"]) as store:
        found = find_run(store, names["run"])
        return call_facts(store, found, record_of(store, found, number))


def record_of(store: Store, run: RunRecord, number: int) -> StepRecord:
    """The record of that number.

    Raises:
        NotFound: the run has none.
        StateError: the file cannot be read.
    """
    record = next(iter(store.records(run.rid, number, 1)), None)
    if record is None or record.seq != number:
        raise _no_such_step(run, number)
    return record


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines: of the call with that record, or of all calls of that step; the last ones."""

    seq: Annotated[int, Meta(ge=1)] | None = None
    step: str | None = None
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
        lines = log_of(store, found, step=given.step, call=record, limit=given.limit + 1)
    return Log(lines[-given.limit :], len(lines) > given.limit)


# -- dead letters -----------------------------------------------------------------------------------------------------


class LettersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters: how they stand, of which reason, run, workflow or step, with which text in their error."""

    status: LetterStanding | None = None
    reason: str | None = None
    run: str | None = None
    workflow: str | None = None
    step: str | None = None
    error: str | None = None
    after: str | None = None
    limit: Limit = 100


class LetterLine(msgspec.Struct, frozen=True):
    """A letter of a listing, with its inputs as plain data, and the script of its run. `parameters` are what
    these inputs are called, in order, as far as that is known."""

    letter: LetterView
    data: Any
    script: str
    parameters: list[str] = []


class LettersPage(msgspec.Struct, frozen=True):
    """Dead letters, newest first; `totals` counts all by how they stand. `next`: the cursor of those behind them."""

    letters: list[LetterLine]
    totals: dict[str, int]
    next: str | None


def letters(desk: Desk, names: Names, given: LettersQuery) -> LettersPage:
    """The dead letters, the newest first."""
    wanted = Selection(given.status, given.run, given.workflow, given.step, given.error, reason=given.reason)
    with opened(desk.location) as store:
        page = letter_pages.letters_page(store, wanted, cursor=given.after, limit=given.limit)
        known: dict[int, dict[tuple[str, str], list[str]]] = {}
        lines = [_line(store, one, known) for one in page.letters]
        return LettersPage(lines, dead_letters.totals(store), page.next)


def _line(store: Store, view: LetterView, known: dict[int, dict[tuple[str, str], list[str]]]) -> LetterLine:
    """A letter as a line. `known`: parameters by kind and name, of runs that were looked at before."""
    letter = dead_letters.get(store, view.letter)
    run = store.run_by_number(letter.run)
    if letter.run not in known:
        rows = store.journal.read(lambda at: code.of_run(at, letter.run, store.path))
        known[letter.run] = {call: list(row.parameters) for call, row in rows.items()}
    record = store.record(letter.run, letter.seq) if letter.seq else None
    given = letter.input if letter.input is not None else run.input if record is None else record.input
    parameters = [] if record is None else known[letter.run].get((record.kind, record.name), [])
    return LetterLine(view, secrets.to_builtins(given), run.path, parameters)


def input_of(desk: Desk, names: Names, given: Nothing) -> letter_input.LetterInput:
    """The input of a dead letter, place by place, to be edited."""
    return letter_input.letter_input(desk.location, str(_number(names["letter"], "dead letter")))


class Reasons(msgspec.Struct, frozen=True):
    """Why letters are parked: what most of them failed with comes first. `letters`: how many they are together."""

    reasons: list[letter_pages.LetterReason]
    letters: int


def reasons(desk: Desk, names: Names, given: Nothing) -> Reasons:
    """The parked letters by reason, those of most letters first."""
    with opened(desk.location) as store:
        found = letter_pages.letter_reasons(store)
    return Reasons(found, sum(one.letters for one in found))


def letter(desk: Desk, names: Names, given: Nothing) -> LetterDetails:
    """All about a dead letter."""
    with opened(desk.location) as store:
        return letter_details_of(store, find_letter(store, str(_number(names["letter"], "dead letter"))))


def accepted(desk: Desk, names: Names, given: Nothing) -> Accepted:
    """What the calls of a letter's step that succeeded were given: a value that none of them had is worth a look."""
    with opened(desk.location) as store:
        letter = find_letter(store, str(_number(names["letter"], "dead letter")))
        run = store.run_by_number(letter.run)
        return accepted_inputs(store, run, store.record(letter.run, letter.seq).name) if letter.seq else Accepted(0, [])


# -- around the runs --------------------------------------------------------------------------------------------------


class Services(msgspec.Struct, frozen=True):
    """Breakers, pauses and rate limits, the locks that are held, and the openings of breakers, the last one first."""

    services: list[BreakerView]
    locks: list[overview.LockView]
    openings: list[OpeningView]


def services(desk: Desk, names: Names, given: Nothing) -> Services:
    """The services that steps call, and locks."""
    with opened(desk.location) as store:
        return Services(list_breakers(desk.location), overview.locks(store), openings_of(store.path)[::-1])


class Waits(msgspec.Struct, frozen=True):
    """Queues, the runs that wait, and the workers that go on with them."""

    queues: list[QueueView]
    runs: list[overview.WaitView]
    workers: list[workers.WorkerView]


def waits(desk: Desk, names: Names, given: Nothing) -> Waits:
    """Queues, runs that wait, and workers."""
    with opened(desk.location) as store:
        found = overview.waiting_runs(store)
        living = workers.list_workers(store)
    return Waits(list_queues(desk.location), found, living)


class Schedules(msgspec.Struct, frozen=True):
    """The schedules."""

    schedules: list[schedules.ScheduleView]


def all_schedules(desk: Desk, names: Names, given: Nothing) -> Schedules:
    """The schedules, by name."""
    return Schedules(schedules.list_schedules(desk.location))


class WaitingAlert(msgspec.Struct, frozen=True):
    """An alert that was not delivered yet: for whom, what it says, how often it was tried, and the last failure.
    Before `next` it is not tried again; None: it is due."""

    target: str
    configured: bool
    created: datetime | None
    title: str
    tries: int
    error: str
    next: datetime | None


class Alerts(msgspec.Struct, frozen=True):
    """Who is told, and what waits to be delivered. `targets` name kind and host, never what admits to them."""

    targets: list[str]
    waiting: list[WaitingAlert]
    counted: int
    dropped: int
    damaged: int


def alerts(desk: Desk, names: Names, given: Nothing) -> Alerts:
    """Alerts that wait, and their targets."""
    from perdure.alerts import recipients
    from perdure.core.timestamps import moment
    from perdure.operations.alerts import pending

    found = pending(desk.location, None)
    waiting = [
        WaitingAlert(
            one.target, one.configured, moment(one.created), one.title, one.tries, one.error, moment(one.next or None)
        )
        for one in found.alerts[:LIMIT]
    ]
    targets = sorted(target.name for target in recipients.targets(None, ""))
    return Alerts(targets, waiting, found.counted, found.dropped, found.damaged)


def doctor(desk: Desk, names: Names, given: Nothing) -> Health:
    """Looks over this installation and the state file: every row of it is read."""
    return examine(desk.location)


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise NotFound(f"{text!r} is the number of no {what}", "give a number")
    return int(text)


# -- parts of the overview, for programs ------------------------------------------------------------------------------


class Workflows(msgspec.Struct, frozen=True):
    """The workflows, by the newest runs."""

    workflows: list[overview.WorkflowView]


class Processes(msgspec.Struct, frozen=True):
    """The processes that execute the newest runs."""

    processes: list[overview.ProcessLine]


class Locks(msgspec.Struct, frozen=True):
    """The locks that living processes have."""

    locks: list[overview.LockView]


def workflows(desk: Desk, names: Names, given: Nothing) -> Workflows:
    """How each workflow is doing."""
    with opened(desk.location) as store:
        return Workflows(overview.workflows_of(*overview.newest_runs(store)))


def processes(desk: Desk, names: Names, given: Nothing) -> Processes:
    """The processes that execute runs."""
    with opened(desk.location) as store:
        return Processes(overview.processes(store, *overview.newest_runs(store)))


def locks(desk: Desk, names: Names, given: Nothing) -> Locks:
    """The locks that are held."""
    with opened(desk.location) as store:
        return Locks(overview.locks(store))


# -- what was done ----------------------------------------------------------------------------------------------------


class DeedsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deeds: those with lower numbers than this."""

    after: Annotated[int, Meta(ge=1)] | None = None
    limit: Limit = 100


class DeedsPage(msgspec.Struct, frozen=True):
    """Deeds, the newest first. `next`: the cursor of those behind them."""

    deeds: list[DeedView]
    next: int | None


class JobsList(msgspec.Struct, frozen=True):
    """Commands that this server has started, the newest first."""

    jobs: list[Job]


def all_deeds(desk: Desk, names: Names, given: DeedsQuery) -> DeedsPage:
    """What people have had done."""
    found = list_deeds(desk.location, before=given.after, limit=given.limit)
    return DeedsPage(found, found[-1].number if len(found) == given.limit else None)


def jobs(desk: Desk, names: Names, given: Nothing) -> JobsList:
    """The commands that this server has started."""
    return JobsList(desk.jobs.newest())


def job(desk: Desk, names: Names, given: Nothing) -> Job:
    """A command, and what it prints."""
    return desk.jobs.get(names["job"])


ENDPOINTS: Final = (
    Endpoint("GET", "/", "The server", Nothing, About, about),
    Endpoint("GET", "/overview", "What needs somebody, and how all is doing", Nothing, overview.Overview, first_page),
    Endpoint("GET", "/search", "A text in runs, steps and letters", SearchQuery, searching.Found, search),
    Endpoint("GET", "/runs", "The runs, newest first", RunsQuery, ps.RunPage, runs),
    Endpoint("GET", "/runs/{run}", "A run without its steps", Nothing, RunDetails, run),
    Endpoint("GET", "/runs/{run}/why", "Why a run is not moving", Nothing, Why, why),
    Endpoint("GET", "/runs/{run}/timeline", "How its calls lie in time", TimelineQuery, Timeline, timeline),
    Endpoint("GET", "/runs/{run}/steps", "Its steps, in the order of their records", StepsQuery, StepRows, steps),
    Endpoint("GET", "/runs/{run}/steps/{seq}", "One step in full", Nothing, StepView, step),
    Endpoint("GET", "/runs/{run}/steps/{seq}/call", "What is known of its call besides", Nothing, CallFacts, call),
    Endpoint("GET", "/runs/{run}/log", "What its attempts have logged and printed", LogQuery, Log, log),
    Endpoint("GET", "/letters", "Dead letters, the newest first", LettersQuery, LettersPage, letters),
    Endpoint("GET", "/letters/reasons", "Parked letters by reason", Nothing, Reasons, reasons),
    Endpoint("GET", "/letters/{letter}", "All about a dead letter", Nothing, LetterDetails, letter),
    Endpoint("GET", "/letters/{letter}/accepted", "What calls that succeeded were given", Nothing, Accepted, accepted),
    Endpoint("GET", "/letters/{letter}/input", "Its input, to be edited", Nothing, letter_input.LetterInput, input_of),
    Endpoint("GET", "/services", "Breakers, pauses, rate limits and locks", Nothing, Services, services),
    Endpoint("GET", "/workflows", "How each workflow is doing", Nothing, Workflows, workflows),
    Endpoint("GET", "/processes", "The processes that execute runs", Nothing, Processes, processes),
    Endpoint("GET", "/locks", "The locks that are held", Nothing, Locks, locks),
    Endpoint("GET", "/schedules", "The schedules", Nothing, Schedules, all_schedules),
    Endpoint("GET", "/waits", "Queues, runs that wait, and workers", Nothing, Waits, waits),
    Endpoint("GET", "/alerts", "Targets, and what waits to be delivered", Nothing, Alerts, alerts),
    Endpoint("GET", "/deeds", "What people have had done", DeedsQuery, DeedsPage, all_deeds),
    Endpoint("GET", "/jobs", "Commands that this server has started", Nothing, JobsList, jobs),
    Endpoint("GET", "/jobs/{job}", "A command, and what it prints", Nothing, Job, job),
    Endpoint("GET", "/doctor", "Looks over installation and state file", Nothing, Health, doctor),
)  # fmt: skip
