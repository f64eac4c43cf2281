"""What needs somebody now, a sentence each, with the commands that help: what `perdure ui` shows first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from shlex import quote
from typing import Final, Literal, get_args

import msgspec

from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.errors import OptionError
from perdure.operations.alerts import alert_targets, pending
from perdure.operations.breakers import BreakerView
from perdure.operations.gone_scripts import go_on, script_gone
from perdure.operations.letter_pages import LetterReason
from perdure.operations.location import Location
from perdure.operations.open_questions import unanswered, waited_for
from perdure.operations.processes import process_of
from perdure.operations.stored_failures import error_line, verdict_of
from perdure.operations.why_waiting import Way
from perdure.store import waits
from perdure.store.runs import Store

SERVICES = 4
"""Breakers that need somebody, one by one; if there are more, the last of these speaks for the others."""

INPUTS = 80

NAMED = 5
"""Damaged records that are named."""

Kind = Literal["damaged", "failed", "interrupted", "approval", "due", "service", "letters", "alerts", "nobody"]


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


URGENCY: Final[dict[Kind, int]] = {kind: place for place, kind in enumerate(get_args(Kind))}
"""What comes first of what needs somebody."""


def need_of_damage(location: Location, what: Sequence[str]) -> Need:
    """What of the file cannot be read."""
    title = f"{what[0]} is damaged" if len(what) == 1 else f"{len(what):,} records are damaged"
    return Need(
        "damaged",
        title,
        "What is stored is not what was written: the file was damaged, or edited from outside. All else is shown.",
        "" if len(what) == 1 else f"{', '.join(what[:NAMED])}{', ...' if len(what) > NAMED else ''}",
        ways=[Way("look over the file", f"perdure doctor{location.option}")],
    )


def needs_somebody(store: Store, run: RunRecord, status: str, newest: list[RunRecord], now: float) -> bool:
    """Does a run need somebody that stands so? `newest` are the newest runs."""
    if status in ("failed", "parked"):  # what was done later with the same inputs needs nobody any more
        return not any(
            one.rid > run.rid and one.status == "done" and one.workflow == run.workflow and one.key == run.key
            for one in newest
        )
    if status == "suspended":
        return (run.wake is not None and run.wake <= now) or bool(unanswered(store, run))
    return status == "interrupted"


def need_of_run(store: Store, location: Location, run: RunRecord, status: str, now: float) -> Need:
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


def needs_of_services(location: Location, shut: list[BreakerView]) -> list[Need]:
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


def need_of_letters(location: Location, letters: int, found: list[LetterReason]) -> Need:
    """The dead letters that are parked."""
    count = f"{letters:,} dead letter{'s wait' if letters > 1 else ' waits'}"
    title = f"{count}, for {len(found)} reason{'s' if len(found) > 1 else ''}"
    named = ", ".join(f"{one.letters:,} x {one.error}" for one in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    first = min((one.first for one in found if one.first is not None), default=None)
    return Need(
        "letters", title, "", named + more, since=first, ways=[Way("look at them", f"perdure dlq ls{location.option}")]
    )


def needs_of_alerts(location: Location, runs: bool) -> tuple[list[str], int, list[Need]]:
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
