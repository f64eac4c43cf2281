"""The alerts of a run that has ended, and of the breaker of a service."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from perdure.alerts.alert import RECOVERED, Alert, Level
from perdure.catalogue.rules import assess_for
from perdure.config.page_links import page_way
from perdure.core.durations import show
from perdure.core.exceptions import capture
from perdure.core.exceptions.output import SAID
from perdure.core.policies.classify import Assessment
from perdure.core.policies.verdicts import unpack_verdict
from perdure.core.records import RunRecord
from perdure.errors import PerdureError
from perdure.store import listing
from perdure.store.runs import Store

NAMED = 3
"""Dead letters."""


class RunEnding(msgspec.Struct, frozen=True, kw_only=True):
    """How a run has ended, as far as an alert of it says so.

    Attributes:
        run: its id.
        workflow: the name of its workflow.
        path: of its script.
        status: how it has ended.
        output: its packed fault, if it has failed.
        saved: how many steps of it are saved; None if that is not known.
        dead: how many dead letters it has.
        troubled: it was gone on with after a crash or a failure, or an alert of it is open (`open_incidents`).
        code: the entry of the failure catalogue, as it was known when it failed; None: its error says what it is.
        step: the step whose last attempt failed with its error.
        attempt: the number of that attempt.
        redrives: its dead letters can be re-driven.
        unclean: the dead letters of clean-ups that have failed, as they are called.
    """

    run: str
    workflow: str
    path: str
    status: str
    output: bytes = b""
    saved: int | None = None
    dead: int = 0
    troubled: bool = False
    code: str | None = None
    step: str = ""
    attempt: int = 0
    redrives: bool = True
    unclean: tuple[str, ...] = ()


def end_alert(
    store: Store, run: RunRecord, status: str, output: bytes, option: str, *, open_incident: bool = False
) -> Alert | None:
    """The alert of the end of a run of a state file; None if there is no reason for one.

    Args:
        store: the state file.
        run: the run, as it was when it was taken.
        status: how it has ended.
        output: its packed fault, if it has failed.
        option: what a command needs to find the state file, with a space before it.
        open_incident: an alert was sent that the run is in trouble (`open_incidents`).
    """
    troubled = bool(run.epoch) or open_incident
    saved = sum(store.counts(run.rid).values())
    ending = RunEnding(run=run.id, workflow=run.workflow, path=run.path, status=status, saved=saved, troubled=troubled)
    if status in ("failed", "parked"):
        step, attempt = _root_cause(store, run, capture.decode(output))
        unclean = tuple(map(str, listing.letters_of_clean_ups(store, run.rid)))
        ending = replace(ending, output=output, code=_code(store, run), step=step, attempt=attempt, unclean=unclean)
    elif status == "done":
        ending = replace(ending, dead=listing.dead_letters(store, run.rid))
    return alert_of(ending, option)


def alert_of(end: RunEnding, option: str) -> Alert | None:
    """The alert of the end of a run; None if there is no reason for one.

    Args:
        end: the end.
        option: what a command needs to find the run, with a space before it.
    """
    name = shlex.quote(end.run)
    more = ("see more", f"perdure show {name}{option}")
    if end.status in ("failed", "parked"):
        commands = [more, ("go on", f"perdure resume {name}{option}")]
        if end.unclean and end.redrives:
            commands.append(("clean up", f"perdure dlq redrive --run {name}{option}"))
        return _failed(end, commands)
    if end.status == "done" and end.dead:
        error = "1 item became a dead letter" if end.dead == 1 else f"{end.dead:,} items became dead letters"
        commands = [("see more", f"perdure dlq ls --run {name}{option}")]
        if end.redrives:
            commands.append(("try again", f"perdure dlq redrive --run {name}{option}"))
        return _alert(end, "dead-letters", "warning", commands, error=error)
    if end.status == "done" and end.troubled:
        return _alert(end, RECOVERED, "info", [more])
    return None


def hanging(workflow: str, run: str, path: str, seconds: float, under_way: Sequence[str], option: str) -> Alert:
    """No step of a run has ended for so many seconds; `under_way` are lines about those that it waits for."""
    return Alert(
        what="hung",
        workflow=workflow,
        run=run,
        error=f"no step has finished for {show(seconds)}",
        notes=tuple(under_way),
        commands=_more(run, path, option),
        key=_hanging(workflow, run),
    )


def moving(workflow: str, run: str, path: str, option: str) -> Alert:
    """Steps of that run finish again."""
    return Alert(
        what=RECOVERED,
        level="info",
        workflow=workflow,
        run=run,
        error="steps finish again",
        commands=_more(run, path, option),
        key=_hanging(workflow, run),
    )


def _more(run: str, path: str, option: str) -> tuple[tuple[str, str], ...]:
    return (("see more", f"perdure show {shlex.quote(run)}{option}"), *page_way(run, path))


def _hanging(workflow: str, run: str) -> str:
    return f"hung\n{workflow}\n{run}"


def breaker_open(run: RunRecord, service: str, seconds: float, error: str, option: str) -> Alert:
    """A breaker has been open for so many seconds; `run` is one that waits for it, or may."""
    name = shlex.quote(service)
    return Alert(
        what="breaker-open",
        level="warning",
        workflow=run.workflow,
        run=run.id,
        error=f"the breaker of {service} has been open for {show(seconds)}: {error}",
        notes=("its calls wait; now and then one is let through, to test whether the service answers again",),
        commands=(
            ("see more", f"perdure breaker ls{option}"),
            ("close it", f"perdure breaker reset {name}{option}"),
        ),
        key=_about(service),
    )


def breaker_closed(run: RunRecord, service: str) -> Alert:
    """The breaker has closed."""
    return Alert(
        what=RECOVERED,
        level="info",
        workflow=run.workflow,
        error=f"the breaker of {service} has closed",
        key=_about(service),
    )


def _about(service: str) -> str:
    return f"breaker-open\n{service}"


def _failed(end: RunEnding, commands: Sequence[tuple[str, str]]) -> Alert:
    fault = capture.decode(end.output)
    error = capture.restore(fault)
    notes = ["it has failed too often and is parked"] if end.status == "parked" else []
    if end.unclean:
        named = ", ".join(end.unclean[:NAMED]) + (
            f" and {len(end.unclean) - NAMED:,} more" * (len(end.unclean) > NAMED)
        )
        alone = "a clean-up has failed, too: dead letter"
        clean_ups = alone if len(end.unclean) == 1 else "clean-ups have failed, too: dead letters"
        notes.append(f"{clean_ups} {named}; what it puts away, or takes back, is still there, or in part")
    notes += [note for note in fault.notes if note.startswith(SAID)]
    code = _sure(assess_for(end.path, error)) if end.code is None else end.code
    return _alert(
        end,
        "failed",
        "error",
        commands,
        error=fault.line,
        code=code or (error.code if isinstance(error, PerdureError) else ""),
        notes=notes,
    )


def _code(store: Store, run: RunRecord) -> str | None:
    """The entry of the catalogue, by what was known of the failure when it happened; None if nothing was."""
    stop = store.stopped_by(store.run_by_number(run.rid))
    seen = unpack_verdict(stop.verdict if stop else None)
    return None if seen is None else _sure(seen)


def _sure(seen: Assessment) -> str:
    """The entry of the catalogue, unless it is only possible."""
    return seen.code or "" if seen.confidence != "possible" else ""


def _root_cause(store: Store, run: RunRecord, fault: capture.Fault) -> tuple[str, int]:
    """The step whose last attempt failed with the error of the run, in the run or in a child run of it."""
    found = store.last_failure(run.rid)
    if found is not None and capture.decode(found.error).line == fault.line:
        return found.name, found.number
    return "", 0


def _alert(
    end: RunEnding,
    what: str,
    level: Level,
    commands: Sequence[tuple[str, str]],
    *,
    error: str = "",
    code: str = "",
    notes: Sequence[str] = (),
) -> Alert:
    return Alert(
        what=what,
        level=level,
        workflow=end.workflow,
        run=end.run,
        step=end.step,
        attempt=end.attempt,
        error=error,
        code=code,
        saved=end.saved,
        notes=tuple(notes),
        commands=(*commands, *page_way(end.run, end.path)),
    )
