"""What needs somebody now, and how the workflows are doing: the first page of `perdure ui`."""

from __future__ import annotations

import time
from datetime import datetime
from shlex import quote
from typing import Final, Literal

import msgspec

from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.errors import OptionError
from perdure.operations.alerts import alert_targets, pending
from perdure.operations.breakers import BreakerView, list_breakers
from perdure.operations.gone_scripts import go_on, script_gone
from perdure.operations.letter_pages import LetterReason, letter_reasons
from perdure.operations.location import Location
from perdure.operations.open_questions import unanswered, waited_for
from perdure.operations.processes import process_of
from perdure.operations.ps import RunView, runs_page
from perdure.operations.run_counts import run_counts
from perdure.operations.stored_failures import error_line, verdict_of
from perdure.operations.why_waiting import Way
from perdure.store import run_pages, waits
from perdure.store.runs import Store

NEWEST = 500
"""Runs that are looked at, the newest."""

STRIP = 32
"""Runs of a workflow that are given."""

SHOWN = 12
"""Runs that need somebody, one by one; further ones are counted."""

SERVICES = 4
"""Breakers that need somebody, one by one; if there are more, the last of these speaks for the others."""

INPUTS = 80

RUNS = 12
"""Runs that are listed, the newest; child runs are not."""

Kind = Literal["failed", "interrupted", "approval", "due", "service", "letters", "alerts", "nobody"]


class Need(msgspec.Struct, frozen=True):
    """Something that needs somebody. `text` says what happened, `detail` quotes the error or the call; `ways` are the
    commands that help. `service` names the breaker of a `service` need; `nobody` is told of failures and deaths."""

    kind: Kind
    title: str
    text: str
    detail: str = ""
    run: str | None = None
    since: datetime | None = None
    verdict: str | None = None
    service: str | None = None
    ways: list[Way] = []


class Mark(msgspec.Struct, frozen=True):
    """A run as a mark on a strip."""

    id: str
    status: str
    seconds: float | None
    created: datetime | None


class WorkflowView(msgspec.Struct, frozen=True):
    """How a workflow is doing, by its newest runs, the newest first. Durations: seconds, of those that are done."""

    name: str
    runs: list[Mark]
    ended: int
    done: int
    median: float | None
    p95: float | None
    last_success: datetime | None


class ProcessLine(msgspec.Struct, frozen=True):
    """A process that executes a run. `memory` in bytes."""

    run: str
    workflow: str
    script: str
    pid: int
    host: str
    since: datetime | None
    memory: int
    in_flight: int


class LockView(msgspec.Struct, frozen=True):
    """A lock that a living process has."""

    name: str
    pid: int | None
    host: str | None
    since: datetime | None
    run: str | None


class Overview(msgspec.Struct, frozen=True):
    """What needs somebody, and how the rest is doing. `totals` counts runs by how they stand, without child runs, up to
    1,000 of each, and of those in `more_totals` there are more; `more_needs` is how many runs need
    somebody besides those in `needs`; `runs` are the newest. `targets` are told of failures and deaths, as the settings
    say here, and `undelivered` is how many alerts wait."""

    needs: list[Need]
    more_needs: int
    totals: dict[str, int]
    letters: int
    reasons: list[LetterReason]
    workflows: list[WorkflowView]
    services: list[BreakerView]
    processes: list[ProcessLine]
    locks: list[LockView]
    runs: list[RunView] = []
    more_runs: bool = False
    targets: list[str] = []
    undelivered: int = 0
    more_totals: list[str] = []


def overview_of(store: Store, location: Location) -> Overview:
    """The first page.

    Args:
        store: the state file.
        location: where it is.

    Raises:
        StateError: the file cannot be read.
    """
    now = time.time()
    newest, standing = newest_runs(store)
    left = [run for run in newest if _needs(store, run, standing[run.rid], newest, now)]
    services = list_breakers(location)
    why = letter_reasons(store)
    waiting = sum(one.letters for one in why)
    needs = [_need(store, location, run, standing[run.rid], now) for run in left[:SHOWN]]
    needs += _services(location, [one for one in services if one.state in ("open", "isolated")])
    targets, undelivered, told = _alerting(location, bool(newest))
    needs += told
    if why:
        needs.append(_letters(location, waiting, why))
    counts = run_counts(store)
    return Overview(
        needs=sorted(needs, key=lambda one: _URGENCY[one.kind]),
        more_needs=len(left[SHOWN:]),
        totals=dict(counts.counts.items()),
        more_totals=[*counts.more],
        letters=waiting,
        reasons=why[:5],
        workflows=workflows_of(newest, standing),
        services=services,
        processes=processes(store, newest, standing),
        locks=locks(store),
        runs=(shown := runs_page(store, limit=RUNS)).runs,
        more_runs=shown.next is not None,
        targets=targets,
        undelivered=undelivered,
    )


def newest_runs(store: Store) -> tuple[list[RunRecord], dict[int, str]]:
    """The newest runs, and how they stand by row number."""
    newest = store.runs(most=NEWEST)
    dead = run_pages.letters_of(store, [run.rid for run in newest])
    return newest, {run.rid: _status(store, run, dead.get(run.rid, 0)) for run in newest}


_URGENCY: dict[Kind, int] = {
    "failed": 0,
    "interrupted": 1,
    "approval": 2,
    "due": 3,
    "service": 4,
    "letters": 5,
    "alerts": 6,
    "nobody": 7,
}


def _status(store: Store, run: RunRecord, dead: int) -> str:
    if run.superseded:
        return "superseded"
    if run.status == "running" and store.holding(run) is None:
        return "interrupted"
    if run.status == "done" and dead:
        return "dead"
    return run.status


def _needs(store: Store, run: RunRecord, status: str, newest: list[RunRecord], now: float) -> bool:
    if status in ("failed", "parked"):  # what was done later with the same inputs needs nobody any more
        return not any(
            one.rid > run.rid and one.status == "done" and one.workflow == run.workflow and one.key == run.key
            for one in newest
        )
    if status == "suspended":
        return (run.wake is not None and run.wake <= now) or bool(unanswered(store, run))
    return status == "interrupted"


def _need(store: Store, location: Location, run: RunRecord, status: str, now: float) -> Need:
    """What it needs; its script first, if that is gone."""
    need = _need_of(store, location, run, status, now)
    gone = script_gone(run.path) if location.state_file is not None else None
    return (
        need
        if gone is None
        else msgspec.structs.replace(need, text=f"{gone[0].upper()}{gone[1:]}. {need.text}".rstrip())
    )


def _need_of(store: Store, location: Location, run: RunRecord, status: str, now: float) -> Need:
    id, option = quote(run.id), location.option
    name = f"{run.workflow}{secrets.describe_inputs(store.whole(run).input, INPUTS)}"
    resume, why = Way("go on", go_on(run.id, run.path, option)), Way("why", f"perdure why {id}{option}")
    if status in ("failed", "parked"):
        line = error_line(run.output) if run.output else ""
        verdict = verdict_of(run.path, None, run.output) if run.output else None
        kind = "failed" if status == "failed" else "failed too often and was parked"
        text = {
            "permanent": "Such an error does not heal by itself: fix the cause, then resume.",
            "transient": "Such an error may heal by itself: resume it, or fix the cause first.",
            "throttled": "The service asks for fewer calls: resume it later.",
        }.get(verdict.kind if verdict else "", "")
        return Need(
            "failed",
            f"{name} {kind}",
            text,
            line,
            run.id,
            moment(run.ended),
            verdict.kind if verdict else None,
            None,
            [why, resume],
        )
    if status == "interrupted":
        process = process_of(store, run)
        if process is None:
            stopped = store.stopped_by(run)
            said = error_line(stopped.error) if stopped is not None and stopped.error else ""
            return Need(
                "interrupted", f"{name} was interrupted", "No process executes it.", said, run.id, moment(run.started),
                ways=[why, resume],
            )  # fmt: skip
        where = ", ".join(f"{one.step}{one.inputs}" for one in process.in_flight[:3])
        how = process.how or "its process died; how is not known"
        text = f"Pid {process.pid}: {how}."
        return Need(
            "interrupted", f"{name} was broken off", text, f"in flight: {where}" if where else "", run.id,
            process.ended or moment(run.started), ways=[why, resume],
        )  # fmt: skip
    found = waits.standing_of(store, run.rid)
    if unanswered(store, run):
        ways = [Way("approve", f"perdure approve {id}{option}"), Way("reject", f"perdure reject {id}{option}")]
        return Need(
            "approval",
            f"{name} asks",
            waited_for(store, run, found, now),
            "",
            run.id,
            moment(run.started),
            ways=ways,
        )
    text = "It is due, and nobody has gone on with it: no worker serves its script, or none is free."
    return Need("due", f"{name} is due", text, "", run.id, moment(run.wake), ways=[why, resume])


def _service(location: Location, one: BreakerView) -> Need:
    seconds = 0 if one.until is None else round(one.until.timestamp() - time.time())
    left = (
        f" for {show(seconds)} more" if seconds > 0 else ", and lets the next call try" if one.state == "open" else ""
    )
    text = (
        f"Calls that it guards wait or fail: {one.failures:,} failures in a row; it has opened {_times(one.openings)}."
    )
    way = Way("close it", f"perdure breaker reset {quote(one.name)}{location.option}")
    return Need("service", f"breaker {one.name} is {one.state}{left}", text, one.error, service=one.name, ways=[way])


def _services(location: Location, shut: list[BreakerView]) -> list[Need]:
    """Each that lets no call through; of many, the first few, and one for the others."""
    if len(shut) <= SERVICES:
        return [_service(location, one) for one in shut]
    rest = len(shut) - SERVICES + 1
    way = Way("list them", f"perdure breaker ls{location.option}")
    named = ", ".join(one.name for one in shut[SERVICES - 1 : SERVICES + 4])
    others = Need(
        "service",
        f"{rest:,} more breakers let no call through",
        "Calls that they guard wait or fail.",
        f"{named}{', ...' if rest > SERVICES + 1 else ''}",
        ways=[way],
    )
    return [*(_service(location, one) for one in shut[: SERVICES - 1]), others]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _letters(location: Location, letters: int, found: list[LetterReason]) -> Need:
    count = f"{letters:,} dead letter{'s wait' if letters > 1 else ' waits'}"
    title = f"{count}, for {len(found)} reason{'s' if len(found) > 1 else ''}"
    named = ", ".join(f"{one.letters:,} x {one.error}" for one in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    first = min((one.first for one in found if one.first is not None), default=None)
    return Need(
        "letters", title, "", named + more, since=first, ways=[Way("look at them", f"perdure dlq ls{location.option}")]
    )


def _alerting(location: Location, runs: bool) -> tuple[list[str], int, list[Need]]:
    """The targets of alerts, how many alerts wait, and what of that needs somebody: also settings that are wrong, which
    would hide all else."""
    try:
        targets, waiting = alert_targets(), len(pending(location, None).alerts)
    except OptionError as error:
        said = Need("alerts", "Alerts of these settings reach nobody", f"{error.hint}.", error.what, ways=[_TEST])
        return [], 0, [said]
    needs = [_alerts(location, waiting)] if waiting else []
    return targets, waiting, needs + ([_NOBODY] if runs and not targets else [])


def _alerts(location: Location, waiting: int) -> Need:
    title = "1 alert was not delivered" if waiting == 1 else f"{waiting:,} alerts were not delivered"
    text = "Whom they are for was told nothing: see why, then deliver them."
    ways = [
        Way("see why", f"perdure alert pending{location.option}"),
        Way("deliver them", f"perdure alert flush{location.option}"),
    ]
    return Need("alerts", title, text, ways=ways)


_TEST: Final = Way("test it", "perdure alert test")

_NOBODY: Final = Need(
    "nobody",
    "Nobody is told of a failure or a death",
    "No alert target is set where this page was started; a script may have others. Set PERDURE_ALERTS, then test it.",
    ways=[_TEST],
)


def workflows_of(newest: list[RunRecord], standing: dict[int, str]) -> list[WorkflowView]:
    """How each workflow is doing, by runs that are given newest first, with how they stand by row number."""
    groups: dict[str, list[RunRecord]] = {}
    for run in newest:
        groups.setdefault(run.workflow, []).append(run)
    found = []
    for name, runs in groups.items():
        ended = [run for run in runs if run.ended is not None]
        done = [run for run in ended if run.status == "done"]
        took = sorted(max((run.ended or 0.0) - run.created, 0.0) for run in done)
        found.append(
            WorkflowView(
                name=name,
                runs=[
                    Mark(
                        run.id,
                        standing[run.rid],
                        None if run.ended is None else max(run.ended - run.created, 0.0),
                        moment(run.created),
                    )
                    for run in runs[:STRIP]
                ],
                ended=len(ended),
                done=len(done),
                median=took[len(took) // 2] if took else None,
                p95=took[min(len(took) * 95 // 100, len(took) - 1)] if took else None,
                last_success=moment(max(run.ended or 0.0 for run in done)) if done else None,
            )
        )
    return found


def processes(store: Store, newest: list[RunRecord], standing: dict[int, str]) -> list[ProcessLine]:
    """The processes that execute these runs."""
    found = []
    for run in newest:
        if standing[run.rid] != "running" or (process := process_of(store, run)) is None or not process.alive:
            continue
        flying = len(process.in_flight) + process.more
        found.append(
            ProcessLine(
                run.id, run.workflow, run.path, process.pid, process.host, process.since, process.memory, flying
            )
        )
    return found


def locks(store: Store) -> list[LockView]:
    """The locks that living processes have."""
    return [
        LockView(
            one.name,
            one.by.pid if one.by else None,
            one.by.host if one.by else None,
            moment(one.since),
            one.run.id if one.run else None,
        )
        for one in store.journal.read(store.locks.held)
    ]
