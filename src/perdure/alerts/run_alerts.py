"""The alerts of a run that has ended, and of the breaker of a service."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from perdure.alerts.alert import RECOVERED, Alert
from perdure.catalogue.rules import assess_for
from perdure.config.page_links import page_way
from perdure.core.durations import show
from perdure.core.exceptions import capture
from perdure.core.exceptions.output import SAID
from perdure.core.policies.verdicts import unpack_verdict
from perdure.core.records import RunRecord
from perdure.errors import PerdureError
from perdure.store import listing
from perdure.store.runs import Store


def end_alert(
    store: Store, run: RunRecord, status: str, output: bytes, option: str, *, open_incident: bool = False
) -> Alert | None:
    """The alert of the end of a run; None if there is no reason for one.

    Args:
        store: the state file.
        run: the run, as it was when it was taken.
        status: how it has ended.
        output: its packed fault, if it has failed.
        option: what a command needs to find the state file, with a space before it.
        open_incident: an alert was sent that the run is in trouble (`open_incidents`).
    """
    name = shlex.quote(run.id)
    saved = sum(store.counts(run.rid).values())
    more = ("see more", f"perdure show {name}{option}")
    if status in ("failed", "parked"):
        return _failed(store, run, status, output, saved, [more, ("go on", f"perdure resume {name}{option}")])
    dead = listing.dead_letters(store, run.rid) if status == "done" else 0
    if dead:
        error = "1 item became a dead letter" if dead == 1 else f"{dead:,} items became dead letters"
        commands = [
            ("see more", f"perdure dlq ls --run {name}{option}"),
            ("try again", f"perdure dlq redrive --run {name}{option}"),
        ]
        return _alert(run, saved, "dead-letters", "warning", commands, error=error)
    if status == "done" and (run.epoch or open_incident):
        return _alert(run, saved, RECOVERED, "info", [more])
    return None


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


def _failed(
    store: Store, run: RunRecord, status: str, output: bytes, saved: int, commands: Sequence[tuple[str, str]]
) -> Alert:
    fault = capture.decode(output)
    error = capture.restore(fault)
    code = _code(store, run, error) or (error.code if isinstance(error, PerdureError) else "")
    step, attempt = _root_cause(store, run, fault)
    notes = ["it has failed too often and is parked"] if status == "parked" else []
    notes += [note for note in fault.notes if note.startswith(SAID)]
    return _alert(
        run, saved, "failed", "error", commands, error=fault.line, code=code, step=step, attempt=attempt, notes=notes
    )


def _code(store: Store, run: RunRecord, error: BaseException) -> str:
    """The entry of the catalogue, by what was known of the failure when it happened; nothing that is only possible."""
    stop = store.stopped_by(store.run_by_number(run.rid))
    seen = unpack_verdict(stop.verdict if stop else None) or assess_for(run.path, error)
    return seen.code or "" if seen.confidence != "possible" else ""


def _root_cause(store: Store, run: RunRecord, fault: capture.Fault) -> tuple[str, int]:
    """The step whose last attempt failed with the error of the run, in the run or in a child run of it."""
    found = store.last_failure(run.rid)
    if found is not None and capture.decode(found.error).line == fault.line:
        return found.name, found.number
    return "", 0


def _alert(
    run: RunRecord,
    saved: int,
    what: str,
    level: str,
    commands: Sequence[tuple[str, str]],
    *,
    error: str = "",
    code: str = "",
    step: str = "",
    attempt: int = 0,
    notes: Sequence[str] = (),
) -> Alert:
    return Alert(
        what=what,
        level=level,  # type: ignore[arg-type]  # one of those above
        workflow=run.workflow,
        run=run.id,
        step=step,
        attempt=attempt,
        error=error,
        code=code,
        saved=saved,
        notes=tuple(notes),
        commands=(*commands, *page_way(run.id, run.path)),
    )
