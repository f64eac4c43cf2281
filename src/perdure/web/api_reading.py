"""The addresses that look. Each opens the state file for looking only, and keeps nothing."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from perdure.core.dead_letters import LetterDetails
from perdure.operations import overview, ps, schedules, searching, waiting_runs, workers
from perdure.operations.accepted_inputs import Accepted
from perdure.operations.breakers import BreakerView, OpeningView, list_breakers, openings_of
from perdure.operations.call_facts import CallFacts
from perdure.operations.deeds import DeedView, list_deeds
from perdure.operations.doctor import Health, examine
from perdure.operations.letter_input import LetterInput
from perdure.operations.location import opened
from perdure.operations.queues import QueueView, list_queues
from perdure.operations.run_counts import RunCounts
from perdure.operations.show import RunDetails
from perdure.operations.step_rows import StepRows
from perdure.operations.step_views import StepView
from perdure.operations.timeline import Timeline
from perdure.operations.why import Why
from perdure.web import api_letters, api_runs
from perdure.web.api_letters import LettersPage, LettersQuery, Reasons
from perdure.web.api_runs import CountsQuery, Log, LogQuery, RunsQuery, StepsQuery, TimelineQuery
from perdure.web.endpoints import LIMIT, Desk, Endpoint, Limit, Names, Nothing
from perdure.web.jobs import Job


class About(msgspec.Struct, frozen=True):
    """The server: version of perdure, the state file that it shows, and whether it may change something."""

    perdure: str
    state: str
    read_only: bool


def about(desk: Desk, names: Names, given: Nothing) -> About:
    """The server."""
    return About(_version(), str(desk.location.path), desk.read_only)


@cache
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("perdure")
    except PackageNotFoundError:
        return "from its folder"


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
    """Queues, the runs that wait, and the workers that go on with them. Of what stands in `more`, "suspended" or
    "queued", there are more runs."""

    queues: list[QueueView]
    runs: list[waiting_runs.WaitView]
    workers: list[workers.WorkerView]
    more: list[str] = []


def waits(desk: Desk, names: Names, given: Nothing) -> Waits:
    """Queues, runs that wait, and workers."""
    with opened(desk.location) as store:
        found, more = waiting_runs.waiting_runs(store)
        living = workers.list_workers(store)
    return Waits(list_queues(desk.location), found, living, more)


class SchedulesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which schedules: those of this name, else all. `latest`: how many ticks of each."""

    name: Annotated[str, Meta(max_length=1_000)] | None = None
    latest: Annotated[int, Meta(ge=0, le=LIMIT)] = 10


class Schedules(msgspec.Struct, frozen=True):
    """The schedules."""

    schedules: list[schedules.ScheduleView]


def all_schedules(desk: Desk, names: Names, given: SchedulesQuery) -> Schedules:
    """The schedules, by name."""
    if given.name is None:
        return Schedules(schedules.list_schedules(desk.location, given.latest))
    return Schedules([schedules.show_schedule(desk.location, given.name, given.latest)])


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
    """Who is told, and what waits to be delivered: the first of it, of `total`. `targets` name kind and host, never
    what admits to them."""

    targets: list[str]
    waiting: list[WaitingAlert]
    counted: int
    dropped: int
    damaged: int
    total: int = 0


def alerts(desk: Desk, names: Names, given: Nothing) -> Alerts:
    """Alerts that wait, and their targets."""
    from perdure.core.timestamps import moment
    from perdure.operations.alerts import alert_targets, pending

    found = pending(desk.location, None)
    waiting = [
        WaitingAlert(
            one.target, one.configured, moment(one.created), one.title, one.tries, one.error, moment(one.next or None)
        )
        for one in found.alerts[:LIMIT]
    ]
    return Alerts(alert_targets(), waiting, found.counted, found.dropped, found.damaged, len(found.alerts))


def doctor(desk: Desk, names: Names, given: Nothing) -> Health:
    """Looks over this installation and the state file: every row of it is read."""
    return examine(desk.location)


# -- parts of the overview, for programs ------------------------------------------------------------------------------


class Workflows(msgspec.Struct, frozen=True):
    """The workflows, by the newest runs."""

    workflows: list[overview.WorkflowView]
    damaged: list[str] = []


class Processes(msgspec.Struct, frozen=True):
    """The processes that execute the newest runs."""

    processes: list[overview.ProcessLine]
    damaged: list[str] = []


class Locks(msgspec.Struct, frozen=True):
    """The locks that living processes have."""

    locks: list[overview.LockView]


def workflows(desk: Desk, names: Names, given: Nothing) -> Workflows:
    """How each workflow is doing."""
    damage = overview.DamageOfRuns()
    with opened(desk.location) as store:
        return Workflows(overview.workflows_of(*overview.newest_runs(store, damage)), damage.found)


def processes(desk: Desk, names: Names, given: Nothing) -> Processes:
    """The processes that execute runs."""
    damage = overview.DamageOfRuns()
    with opened(desk.location) as store:
        return Processes(overview.processes(store, *overview.newest_runs(store, damage)), damage.found)


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
    Endpoint("GET", "/runs", "The runs, newest first", RunsQuery, ps.RunPage, api_runs.runs),
    Endpoint("GET", "/counts", "How many runs stand how", CountsQuery, RunCounts, api_runs.counts),
    Endpoint("GET", "/runs/{run}", "A run without its steps", Nothing, RunDetails, api_runs.run),
    Endpoint("GET", "/runs/{run}/why", "Why a run is not moving", Nothing, Why, api_runs.why),
    Endpoint("GET", "/runs/{run}/timeline", "How its calls lie in time", TimelineQuery, Timeline, api_runs.timeline),
    Endpoint("GET", "/runs/{run}/steps", "Its steps, a page of them", StepsQuery, StepRows, api_runs.steps),
    Endpoint("GET", "/runs/{run}/steps/{seq}", "One step in full", Nothing, StepView, api_runs.step),
    Endpoint("GET", "/runs/{run}/steps/{seq}/call", "What else its call had", Nothing, CallFacts, api_runs.call),
    Endpoint("GET", "/runs/{run}/log", "What its attempts have logged and printed", LogQuery, Log, api_runs.log),
    Endpoint("GET", "/letters", "Dead letters, the newest first", LettersQuery, LettersPage, api_letters.letters),
    Endpoint("GET", "/letters/reasons", "Parked letters by reason", Nothing, Reasons, api_letters.reasons),
    Endpoint("GET", "/letters/{letter}", "All about a dead letter", Nothing, LetterDetails, api_letters.letter),
    Endpoint("GET", "/letters/{letter}/accepted", "What successful calls had", Nothing, Accepted, api_letters.accepted),
    Endpoint("GET", "/letters/{letter}/input", "Its input, to be edited", Nothing, LetterInput, api_letters.input_of),
    Endpoint("GET", "/services", "Breakers, pauses, rate limits and locks", Nothing, Services, services),
    Endpoint("GET", "/workflows", "How each workflow is doing", Nothing, Workflows, workflows),
    Endpoint("GET", "/processes", "The processes that execute runs", Nothing, Processes, processes),
    Endpoint("GET", "/locks", "The locks that are held", Nothing, Locks, locks),
    Endpoint("GET", "/schedules", "The schedules", SchedulesQuery, Schedules, all_schedules),
    Endpoint("GET", "/waits", "Queues, runs that wait, and workers", Nothing, Waits, waits),
    Endpoint("GET", "/alerts", "Targets, and what waits to be delivered", Nothing, Alerts, alerts),
    Endpoint("GET", "/deeds", "What people have had done", DeedsQuery, DeedsPage, all_deeds),
    Endpoint("GET", "/jobs", "Commands that this server has started", Nothing, JobsList, jobs),
    Endpoint("GET", "/jobs/{job}", "A command, and what it prints", Nothing, Job, job),
    Endpoint("GET", "/doctor", "Looks over installation and state file", Nothing, Health, doctor),
)  # fmt: skip
