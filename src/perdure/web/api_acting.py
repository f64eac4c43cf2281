"""The addresses that act; where nothing may be changed they do not exist.

What loads a user's script is a command in a process of its own. Which script that is stands in the state file, so the
client says which one was shown to the user, and nothing is started if it is another.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from perdure.core.durations import rate as read_rate
from perdure.errors import RunError
from perdure.operations import alerts, approvals, breakers, deeds, letter_input
from perdure.operations.dead_letters import Selection, find_letter, refuse_others, select
from perdure.operations.find_run import find_run
from perdure.operations.location import opened
from perdure.operations.started_commands import REDRIVEN
from perdure.web.answers import clean
from perdure.web.endpoints import Desk, Endpoint, Nothing
from perdure.web.jobs import Job

Names = dict[str, str]


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to what a run asks: a note for the workflow; a part of the title, if the run asks several things."""

    note: Annotated[str, Meta(max_length=10_000)] = ""
    title: Annotated[str, Meta(max_length=1_000)] = ""


class Changed(msgspec.Struct, frozen=True):
    """A circuit breaker, and how it is now."""

    name: str
    state: str


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The script whose code may be executed, as it was shown to the user."""

    script: str


class From(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which record on a copy of the run is executed anew, and the script."""

    script: str
    step: Annotated[int, Meta(ge=1)]


Numbers = Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, max_length=200)]


class Letters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dead letters by their numbers."""

    letters: Numbers


class Redriven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dead letters by their numbers, the scripts of their runs, how many are tried at a time, and how fast: "5/s"."""

    letters: Numbers
    scripts: list[str]
    concurrency: Annotated[int, Meta(ge=1, le=1_000)] = 1
    rate: Annotated[str, Meta(max_length=32)] = ""


class Matching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parked dead letters of a reason, a run, a workflow or a step, or with a text in their error. `count` is how
    many they were when they were shown, so that none is meant that nobody has seen."""

    count: Annotated[int, Meta(ge=1)]
    reason: str | None = None
    run: str | None = None
    workflow: str | None = None
    step: str | None = None
    error: str | None = None


class MatchingRedriven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All dead letters that match, the scripts of their runs, how many are tried at a time, and how fast: "5/s"."""

    matching: Matching
    scripts: list[str]
    concurrency: Annotated[int, Meta(ge=1, le=1_000)] = 1
    rate: Annotated[str, Meta(max_length=32)] = ""


class MatchingDropped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All dead letters that match."""

    matching: Matching


class Edited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another input: values by the place where they stand, or the recorded one again (`reset`); the version that was
    shown, and the script that checks it."""

    script: str
    version: str
    changes: dict[str, str | int | float | bool | None] = {}
    reset: bool = False


class AlertsTested(msgspec.Struct, frozen=True):
    """Whether a test alert was delivered to each target."""

    tests: list[alerts.DeliveryTest]


class AlertsFlushed(msgspec.Struct, frozen=True):
    """What failed again, by target, and how many alerts wait still."""

    failed: dict[str, str]
    waiting: int


class ScriptNotConfirmed(RunError):
    """Another script would be executed than the one that was shown."""

    code = "script-not-confirmed"


def approve(desk: Desk, names: Names, given: Said) -> approvals.AnswerView:
    """Say yes to what a run asks."""
    return _answered(desk, names["run"], True, given)


def reject(desk: Desk, names: Names, given: Said) -> approvals.AnswerView:
    """Say no to what a run asks."""
    return _answered(desk, names["run"], False, given)


def _answered(desk: Desk, run: str, yes: bool, given: Said) -> approvals.AnswerView:
    answer = approvals.answer(desk.location, run, yes, note=given.note, title=given.title)
    deeds.note(desk.location, "approve" if yes else "reject", answer.run, answer.title, via="page")
    return answer


def reset(desk: Desk, names: Names, given: Nothing) -> Changed:
    """Close a breaker, and end the pause of its service."""
    breakers.change_breaker(desk.location, names["name"], "reset")
    deeds.note(desk.location, "breaker reset", names["name"], via="page")
    return Changed(names["name"], "closed")


def isolate(desk: Desk, names: Names, given: Nothing) -> Changed:
    """Let no call through a breaker until it is reset."""
    breakers.change_breaker(desk.location, names["name"], "isolate")
    deeds.note(desk.location, "breaker isolate", names["name"], via="page")
    return Changed(names["name"], "isolated")


def resume(desk: Desk, names: Names, given: Script) -> Job:
    """Go on with a run."""
    run = _confirmed(desk, names["run"], given.script)
    return desk.jobs.start(desk.location, ["resume"], [run], run)


def cancel(desk: Desk, names: Names, given: Script) -> Job:
    """End a run for good; what it has deferred, and what is to be undone, is executed."""
    run = _confirmed(desk, names["run"], given.script)
    return desk.jobs.start(desk.location, ["cancel"], [run], run)


def fork(desk: Desk, names: Names, given: From) -> Job:
    """Execute a copy of a run anew from a record on."""
    run = _confirmed(desk, names["run"], given.script)
    return desk.jobs.start(desk.location, ["fork", f"--from=#{given.step}"], [run], run)


def redrive(desk: Desk, names: Names, given: Redriven) -> Job:
    """Try dead letters again."""
    with opened(desk.location) as store:
        letters = [find_letter(store, str(number)) for number in given.letters]
        for script in sorted({store.run_by_number(letter.run).path for letter in letters}):
            _same(script, given.scripts)
    numbers = [str(number) for number in given.letters]
    return desk.jobs.start(desk.location, ["dlq", "redrive", *_pace(given)], numbers, outcomes=REDRIVEN)


def drop(desk: Desk, names: Names, given: Letters) -> Job:
    """Give dead letters up."""
    return desk.jobs.start(desk.location, ["dlq", "drop"], [str(number) for number in given.letters])


def redrive_matching(desk: Desk, names: Names, given: MatchingRedriven) -> Job:
    """Try all dead letters again that match."""
    filters = _matching(desk, given.matching, given.scripts)
    return desk.jobs.start(desk.location, ["dlq", "redrive", *filters, *_pace(given)], [], outcomes=REDRIVEN)


def drop_matching(desk: Desk, names: Names, given: MatchingDropped) -> Job:
    """Give all dead letters up that match."""
    return desk.jobs.start(desk.location, ["dlq", "drop", *_matching(desk, given.matching, None)], [])


def _pace(given: Redriven | MatchingRedriven) -> list[str]:
    """The options that say how many are tried at a time, and how fast.

    Raises:
        OptionError: the rate is none.
    """
    if given.rate:
        read_rate(given.rate, option="rate")
    many = [f"--concurrency={given.concurrency}"] if given.concurrency > 1 else []
    return [*many, f"--rate={given.rate}"] if given.rate else many


def _matching(desk: Desk, wanted: Matching, scripts: list[str] | None) -> list[str]:
    """The options that mean the letters which match, if they are as many as were shown."""
    given = {
        name: value
        for name in ("reason", "run", "workflow", "step", "error")
        if (value := getattr(wanted, name)) is not None
    }
    with opened(desk.location) as store:
        runs: dict[int, int] = {}
        for letter in select(store, Selection("parked", **given)):
            runs[letter.run] = runs.get(letter.run, 0) + 1
        refuse_others(sum(runs.values()), wanted.count)
        if scripts is not None:
            for script in sorted({store.run_by_number(rid).path for rid in runs}):
                _same(script, scripts)
    options = [f"--{name}={value}" for name, value in given.items()] or ["--all"]
    return [*options, f"--if-count={wanted.count}"]  # letters may be parked until the command has begun


def edit(desk: Desk, names: Names, given: Edited) -> Job:
    """Give a dead letter another input, which the script's annotations have to take."""
    with opened(desk.location) as store:
        letter = find_letter(store, names["letter"])
        _same(store.run_by_number(letter.run).path, [given.script])
        letter_input.check_version(store, letter, given.version)
    letter_input.refuse_hidden(desk.location, str(letter.lid), given.changes)
    how = ["--reset"] if given.reset else ["--changes=-"]
    changes = b"" if given.reset else msgspec.json.encode(given.changes)
    command = ["dlq", "edit", f"--if-version={given.version}", *how]
    return desk.jobs.start(desk.location, command, [str(letter.lid)], given=changes)


def test_alerts(desk: Desk, names: Names, given: Nothing) -> AlertsTested:
    """Send a test alert to every configured target."""
    tests = alerts.deliver_test(alerts.configured_targets((), None))
    deeds.note(desk.location, "alert test", ", ".join(one.target for one in tests), via="page")
    return AlertsTested(tests)


def flush_alerts(desk: Desk, names: Names, given: Nothing) -> AlertsFlushed:
    """Deliver what waits now, also what failed a moment ago."""
    failures, left = alerts.flush(desk.location, None)
    deeds.note(desk.location, "alert flush", "alerts", f"{len(left.alerts)} wait still", via="page")
    return AlertsFlushed({one.target: one.what for one in failures}, len(left.alerts))


def _confirmed(desk: Desk, reference: str, script: str) -> str:
    with opened(desk.location, reference) as store:
        run = find_run(store, reference)
        _same(run.path, [script])
        return run.id


def _same(script: str, shown: list[str]) -> None:
    if script not in shown and clean(script) not in shown:
        raise ScriptNotConfirmed(
            f"this would execute the script {script}, which is not the one that was confirmed",
            "load the page again, look at the path, and confirm it",
        )


ENDPOINTS: Final = (
    Endpoint("POST", "/runs/{run}/resume", "Go on with a run", Script, Job, resume),
    Endpoint("POST", "/runs/{run}/cancel", "End a run for good", Script, Job, cancel),
    Endpoint("POST", "/runs/{run}/fork", "Execute a copy anew from a record on", From, Job, fork),
    Endpoint("POST", "/letters/redrive", "Try dead letters again", Redriven, Job, redrive),
    Endpoint("POST", "/letters/drop", "Give dead letters up", Letters, Job, drop),
    Endpoint("POST", "/letters/redrive-matching", "Try all again that match", MatchingRedriven, Job, redrive_matching),
    Endpoint("POST", "/letters/drop-matching", "Give all up that match", MatchingDropped, Job, drop_matching),
    Endpoint("PATCH", "/letters/{letter}", "Give a dead letter another input", Edited, Job, edit),
    Endpoint("POST", "/alerts/test", "Send a test alert to every target", Nothing, AlertsTested, test_alerts),
    Endpoint("POST", "/alerts/flush", "Deliver what waits now", Nothing, AlertsFlushed, flush_alerts),
    Endpoint("POST", "/runs/{run}/approve", "Say yes to what it asks", Said, approvals.AnswerView, approve),
    Endpoint("POST", "/runs/{run}/reject", "Say no to what it asks", Said, approvals.AnswerView, reject),
    Endpoint("POST", "/services/{name}/reset", "Close a breaker, and end a pause", Nothing, Changed, reset),
    Endpoint("POST", "/services/{name}/isolate", "Let no call through until it is reset", Nothing, Changed, isolate),
)
