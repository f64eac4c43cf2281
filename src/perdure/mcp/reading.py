"""The tools that look: none of them writes to a state file, executes a step, or loads a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, structs

from perdure.errors import OptionError
from perdure.mcp.answers import HEAD, Answer, fitting, item, page, plain, start_of, within
from perdure.mcp.tool import Arguments, Cursor, LetterReference, RunReference, Tool, Where
from perdure.operations import ps, run_views
from perdure.operations.dead_letters import Standing as LetterStanding
from perdure.operations.location import opened

AT_ONCE = 100
"""How much of a list is read for one answer; fewer may fit."""

FAILURES = 3
"""Attempts of a call that are shown, the last ones; with `step` all that fit."""

SOME = 10
"""Children, calls in flight, suspects and open calls of a run that are shown."""

LETTER_RUNS = 100_000
"""Runs of a cluster that are asked about."""


class ListRuns(Arguments, frozen=True):
    """Of `list_runs`."""

    status: Annotated[run_views.Standing | None, Meta(description="Only runs that stand so.")] = None
    workflow: Annotated[str | None, Meta(description="Only runs of this workflow.")] = None
    children: Annotated[bool, Meta(description="Child runs too.")] = False
    cursor: Cursor | None = None


def list_runs(where: Where, given: ListRuns) -> Answer:
    """The runs, newest first."""
    start = start_of(given.cursor)
    with opened(where.locate(), most=start + AT_ONCE + 1) as store:
        found = ps.list_runs(
            store,
            ps.RunFilter(given.status, given.workflow, given.children),
            limit=start + AT_ONCE + 1,
        )[start:]
    shown = [_run(view) for view in found[:AT_ONCE]]
    return page({}, "runs", shown, start, more=len(found) > AT_ONCE)


class ShowRun(Arguments, frozen=True):
    """Of `show_run`."""

    run: RunReference
    step: Annotated[str | None, Meta(description="Only the steps of this name, with more of their failures.")] = None
    cursor: Cursor | None = None


def show_run(where: Where, given: ShowRun) -> Answer:
    """One run, and its steps from the last one back."""
    from perdure.operations.show import run_details

    before = start_of(given.cursor) or None
    with opened(where.locate(), given.run) as store:
        found = run_details(store, given.run, step=given.step, limit=AT_ONCE, before=before)
    failures = FAILURES if given.step is None else AT_ONCE
    if before is None:
        about = {
            "run": _run(found.run),
            "parent": found.parent,
            "process": _process(found.process),
            "verdict": found.verdict,
            "child_runs": len(found.children),
            "children": [{"id": one.id, "status": one.status} for one in found.children[-SOME:]],
        }
        head = item(
            about,
            inputs=found.inputs,
            result=found.result,
            error=found.error,
            open_calls=[_call(one, FAILURES) for one in found.open[-SOME:]],
            suspects=[plain(one) for one in found.suspects[:SOME]],
            damaged=found.damaged,
        )
    else:
        head = {"run": {"id": found.run.id, "status": found.run.status}}
    steps = [
        item(
            plain(
                {name: getattr(one, name) for name in ("seq", "name", "status", "attempts", "started", "seconds")}
                | {
                    "letter": one.letter,
                    "letter_status": one.standing,
                    "behind_fork": one.behind or None,
                    "verdict": one.verdict,
                }
            ),
            **_call(one, failures),
            result=one.result,
            error=_error(one.error),
        )
        for one in reversed(found.steps)
    ]
    head = within(head, HEAD)
    shown = fitting(head, steps)
    answer = {**head, "steps": shown}
    if found.steps and (found.earlier or len(shown) < len(steps)):
        answer["next_cursor"] = str(found.steps[len(steps) - len(shown)].seq)
    return answer


def _run(view: run_views.RunView) -> Answer:
    trusted = {name: value for name, value in structs.asdict(view).items() if name not in ("inputs", "error")}
    return item(trusted, inputs=view.inputs, error=view.error)


def _call(call: Any, most: int) -> Answer:
    failures = [
        {"number": one.number, "started": one.started, "seconds": one.seconds, "kind": one.verdict.named}
        | _error(one.error)
        for one in call.failures[-most:]
    ]
    name = {} if hasattr(call, "seq") else {"name": call.name}
    return {**name, "inputs": call.inputs, "failures": failures, "more_failures": len(call.failures[:-most]) or None}


def _error(error: Any) -> Answer:
    return {} if error is None else {"type": error.type, "message": error.message, "notes": error.notes}


def _process(process: Any) -> Answer | None:
    if process is None:
        return None
    calls = [{"step": one.step, "attempt": one.attempt, "since": one.since} for one in process.in_flight[:SOME]]
    return item(
        {name: value for name, value in structs.asdict(process).items() if name not in ("in_flight", "more")}
        | {"in_flight": calls, "more": process.more + len(process.in_flight[SOME:])}
    )


class WhyRun(Arguments, frozen=True):
    """Of `why_run`."""

    run: RunReference


def why_run(where: Where, given: WhyRun) -> Answer:
    """Why a run is not moving."""
    from perdure.operations.find_run import find_run
    from perdure.operations.why import explain

    location = where.locate()
    with opened(location, given.run) as store:
        found = structs.asdict(explain(store, find_run(store, given.run), location))
    reasons = found.pop("reasons")  # sentences that quote errors and inputs
    return item(found, reasons=reasons)


class DiagnoseRun(Arguments, frozen=True):
    """Of `diagnose_run`."""

    run: RunReference
    cursor: Cursor | None = None


def diagnose_run(where: Where, given: DiagnoseRun) -> Answer:
    """What is wrong with a run, with the records that show it."""
    from perdure.operations.diagnose import diagnose
    from perdure.operations.find_run import find_run

    start = start_of(given.cursor)
    location = where.locate()
    with opened(location, given.run) as store:
        found = diagnose(store, find_run(store, given.run), location)
    findings = []
    for one in found.findings[start:]:
        trusted = structs.asdict(one)
        outside = {name: trusted.pop(name) for name in ("text", "evidence", "fix")}
        findings.append(item(trusted, **outside))
    head = {"run": found.run, "workflow": found.workflow, "status": found.status, "not_seen": found.not_seen}
    return page(head, "findings", findings, start)


class ExplainFailure(Arguments, frozen=True):
    """Of `explain_failure`."""

    code: Annotated[str | None, Meta(description="An entry of the catalogue, such as rate-limit-spiral.")] = None
    text: Annotated[
        str | None, Meta(description="The text of an error: which entry it is, and whether it is tried again.")
    ] = None


def explain_failure(where: Where, given: ExplainFailure) -> Answer:
    """A kind of failure; or what kind the text of an error is; or all of them, a line each."""
    from perdure.catalogue.entries import entries
    from perdure.core.policies.verdicts import verdict_on
    from perdure.operations.failures import entry, explain_text

    if given.text is not None and given.code is not None:
        raise OptionError("both code and text are given", "give one of them")
    seen = verdict_on(explain_text(given.text)) if given.text is not None else None
    code = given.code if seen is None else seen.code
    if seen is None and code is None:
        return {"entries": [{"code": one.code, "title": one.title} for one in entries().values()]}
    about = {} if seen is None else {"verdict": plain(seen)}
    if code is None:
        return about
    found = structs.asdict(entry(code))
    del found["markdown"]  # the same once more
    return about | {"entry": found}


class ListDeadLetters(Arguments, frozen=True):
    """Of `list_dead_letters`."""

    status: Annotated[LetterStanding, Meta(description="Only those that stand so.")] = "parked"
    run: RunReference | None = None
    workflow: Annotated[str | None, Meta(description="Only those of this workflow.")] = None
    step: Annotated[str | None, Meta(description="Only those of this step.")] = None
    error: Annotated[str | None, Meta(description="Only with this in the error's class or message.")] = None
    cursor: Cursor | None = None


def list_dead_letters(where: Where, given: ListDeadLetters) -> Answer:
    """The dead letters, newest first."""
    from perdure.operations.dead_letters import Selection, list_letters

    start = start_of(given.cursor)
    wanted = Selection(given.status, given.run, given.workflow, given.step, given.error)
    with opened(where.locate(), given.run, None if given.run else LETTER_RUNS) as store:
        found = list_letters(store, wanted, start + AT_ONCE + 1)
    letters = []
    for view in found.letters[start : start + AT_ONCE]:
        trusted = structs.asdict(view)
        outside = {name: trusted.pop(name) for name in ("inputs", "error")}
        letters.append(item(trusted, **outside))
    return page({"totals": found.totals}, "letters", letters, start, more=len(found.letters) > start + AT_ONCE)


class ShowDeadLetter(Arguments, frozen=True):
    """Of `show_dead_letter`."""

    letter: LetterReference
    cursor: Cursor | None = None


def show_dead_letter(where: Where, given: ShowDeadLetter) -> Answer:
    """One dead letter, with its attempts from the last one back."""
    from perdure.operations.dead_letters import details_of, find_letter, run_named, texts_of
    from perdure.operations.idempotency_keys import keys_of

    start = start_of(given.cursor)
    run = run_named(str(given.letter))
    with opened(where.locate(), run, None if run else LETTER_RUNS) as store:
        letter = find_letter(store, str(given.letter))
        details, texts = details_of(store, letter), texts_of(store, letter)
        keys = keys_of(store, letter)
    names = (
        "letter",
        "status",
        "workflow",
        "run",
        "step",
        "seq",
        "first",
        "last",
        "parked",
        "changed",
        "redriven",
        "verdict",
    )
    head = item(
        {name: getattr(details, name) for name in names} | {"idempotency_keys": keys},
        inputs=texts.inputs,
        edited=texts.edited,
        result=texts.result,
        error=details.error,
        message=details.message,
        notes=details.notes,
    )
    attempts = []
    for one in list(reversed(details.attempts))[start:]:
        trusted = structs.asdict(one)
        outside = {name: trusted.pop(name) for name in ("error", "message", "notes", "traceback")}
        attempts.append(item(trusted, **outside))
    return page(head, "attempts", attempts, start)


class ListBreakers(Arguments, frozen=True):
    """Of `list_breakers`."""

    cursor: Cursor | None = None


def list_breakers(where: Where, given: ListBreakers) -> Answer:
    """The circuit breakers, pauses and rate limits."""
    from perdure.operations import breakers

    start = start_of(given.cursor)
    found = []
    for view in breakers.list_breakers(where.locate())[start:]:
        trusted = structs.asdict(view)
        error = trusted.pop("error")
        found.append(item(trusted, error=error))
    return page({}, "breakers", found, start)


class CheckScript(Arguments, frozen=True):
    """Of `check_script`."""

    path: Annotated[str, Meta(description="A script, or a folder with scripts.", min_length=1, max_length=4096)]
    hints: Annotated[bool, Meta(description="Hints too.")] = False
    cursor: Cursor | None = None


def check_script(where: Where, given: CheckScript) -> Answer:
    """What is wrong with a script, by its source alone."""
    from dataclasses import asdict

    from perdure.operations.check import check

    start = start_of(given.cursor)
    state = where.state if where.state is not None and where.state.exists() else None
    found = check([Path(given.path)], hints=given.hints, state=state)
    lines: list[Answer] = []
    for kind, entries in (("problem", found.problems), ("finding", found.findings), ("not_seen", found.not_seen)):
        for one in entries:
            trusted = asdict(one)
            outside = {name: trusted.pop(name) for name in ("text", "fix") if name in trusted}
            lines.append(item({"kind": kind, **trusted}, **outside))
    head = {
        "files": found.files,
        "findings": len(found.findings),
        "problems": len(found.problems),
        "not_seen": len(found.not_seen),
    }
    return page(head, "lines", lines[start:], start)


READING: tuple[Tool[Any], ...] = (
    Tool("list_runs", "List the runs, newest first: workflow, status, steps, dead letters.", ListRuns, list_runs),
    Tool(
        "show_run",
        "Show one run: inputs, result or error, and its steps with their attempts, the last step first.",
        ShowRun,
        show_run,
    ),
    Tool("why_run", "Say why a run is not moving, and the commands that help.", WhyRun, why_run),
    Tool(
        "diagnose_run",
        "Say what is wrong with a run: kinds of failures, the records that show them, what to do.",
        DiagnoseRun,
        diagnose_run,
    ),
    Tool(
        "explain_failure",
        "Explain a kind of failure by its code or by the text of an error: causes, what to do, how to prevent it.",
        ExplainFailure,
        explain_failure,
    ),
    Tool(
        "list_dead_letters",
        "List dead letters, newest first: calls that failed for good and are kept for review.",
        ListDeadLetters,
        list_dead_letters,
    ),
    Tool(
        "show_dead_letter",
        "Show one dead letter: its input, its error, and every attempt, the last one first.",
        ShowDeadLetter,
        show_dead_letter,
    ),
    Tool("list_breakers", "List circuit breakers, pauses and rate limits.", ListBreakers, list_breakers),
    Tool(
        "check_script",
        "Check a script by its source: what breaks on resume, is lost, hangs, or is done twice. It is never run.",
        CheckScript,
        check_script,
    ),
)
"""Every tool that only looks."""
