"""What an alert says of a run that has come to its end."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.alerts.message import RECOVERED, Alert
from perdure.core import faults
from perdure.core.failures import assess
from perdure.core.records import RunRecord
from perdure.errors import PerdureError
from perdure.store import listing
from perdure.store.runs import Store


def ending(store: Store, run: RunRecord, status: str, output: bytes, option: str) -> Alert | None:
    """What to tell of the end of a run; None if it is nothing to be told of.

    Args:
        store: the state file.
        run: the run, as it was when it was taken.
        status: how it has ended.
        output: its packed fault, if it has failed.
        option: what a command needs to find the state file, with a space before it.
    """
    saved = sum(store.counts(run.rid).values())
    more = ("see more", f"perdure show {run.id}{option}")
    if status in ("failed", "parked"):
        return _failed(store, run, status, output, saved, [more, ("go on", f"perdure resume {run.id}{option}")])
    dead = listing.dead_letters(store, run.rid) if status == "done" else 0
    if dead:
        told = "1 item became a dead letter" if dead == 1 else f"{dead:,} items became dead letters"
        commands = [
            ("see more", f"perdure dlq ls --run {run.id}{option}"),
            ("try again", f"perdure dlq redrive --run {run.id}{option}"),
        ]
        return _alert(run, saved, "dead-letters", "warning", commands, error=told)
    if status == "done" and run.epoch:
        return _alert(run, saved, RECOVERED, "info", [more])
    return None


def _failed(
    store: Store, run: RunRecord, status: str, output: bytes, saved: int, commands: Sequence[tuple[str, str]]
) -> Alert:
    fault = faults.decode(output)
    error = faults.restore(fault)
    code = error.code if isinstance(error, PerdureError) else assess(error, 0.0).code or ""
    last = store.last_attempt(run.rid, run.epoch)
    step, attempt = last if last is not None else ("", 0)
    notes = ["it has failed too often and was set aside"] if status == "parked" else []
    return _alert(
        run, saved, "failed", "error", commands, error=fault.line, code=code, step=step, attempt=attempt, notes=notes
    )


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
        commands=tuple(commands),
    )
