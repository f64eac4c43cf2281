"""Writes what happens into the log, under the name `perdure`."""

from __future__ import annotations

import logging

from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.exceptions.capture import Fault
from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import Call
from perdure.core.redaction.printable import one_line
from perdure.engines.observers import json_logs
from perdure.errors import PerdureError


class Logbook:
    """An onlooker that logs.

    What is done goes at DEBUG; runs, waits and batches at INFO; failed attempts, dead letters and runs that are broken
    off at WARNING; failed runs at ERROR. Every record says which run, workflow, step and attempt it is about.
    """

    def __init__(self) -> None:
        self._log = json_logs.logger()
        self._workflows: dict[str, str] = {}

    def standing_by(self, workflow: str, reason: str) -> None:
        """A run has to wait for somebody."""
        self._say(logging.INFO, "workflow %r has to wait: %s", workflow, reason, workflow=workflow)

    def run_began(self, run_id: str, workflow: str, recorded: int, resumed: bool) -> None:
        """A run was started or resumed."""
        self._workflows[run_id] = workflow
        if resumed:
            self._say(logging.INFO, "run %s resumed, with %d steps saved before", run_id, recorded, run=run_id)
        else:
            self._say(logging.INFO, "run %s started", run_id, run=run_id)

    def run_ended(self, run_id: str, workflow: str, status: str) -> None:
        """A run has ended."""
        level = logging.INFO if status == "done" else logging.WARNING if status == "cancelled" else logging.ERROR
        self._say(level, "run %s %s", run_id, status, run=run_id, workflow=workflow)
        self._workflows.pop(run_id, None)

    def run_stopped(self, run_id: str, workflow: str, error: BaseException) -> None:
        """A run was broken off."""
        what = error_line(error)
        self._say(logging.WARNING, "run %s was broken off: %s", run_id, what, run=run_id, workflow=workflow)
        self._workflows.pop(run_id, None)

    def replayed(self, run_id: str, call: Call) -> None:
        """A call was answered from its record."""
        self._say(logging.DEBUG, "step %r was saved before", call.spec.name, run=run_id, step=call.spec.name)

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        """An attempt begins."""
        self._say(
            logging.DEBUG, "step %r: attempt %d begins", call.spec.name, attempt, **_of(run_id, call, attempt)
        )  # fmt: skip

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        """An attempt has ended."""
        name, took = call.spec.name, outcome.seconds
        of = _of(run_id, call, attempt)
        if outcome.error is None:
            if self._log.isEnabledFor(logging.DEBUG):
                self._say(logging.DEBUG, "step %r ran in %s", name, show(took), **of)
        elif self._log.isEnabledFor(logging.WARNING):
            line = error_line(outcome.error)
            self._say(
                logging.WARNING, "step %r failed at attempt %d, after %s: %s", name, attempt, show(took), line, **of
            )

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        """A failed attempt will be repeated."""
        if self._log.isEnabledFor(logging.INFO):
            name = call.spec.name
            self._say(logging.INFO, "step %r is tried again in %s", name, show(seconds), **_of(run_id, call, attempt))

    def held(self, run_id: str, call: Call, reason: str, seconds: float) -> None:
        """A call may not go yet."""
        if self._log.isEnabledFor(logging.INFO):
            self._say(
                logging.INFO,
                "step %r is held: %s; it asks again in %s",
                call.spec.name,
                reason,
                show(seconds),
                run=run_id,
                step=call.spec.name,
            )

    def parked(self, run_id: str, name: str, letter: int, fault: Fault) -> None:
        """A call has become a dead letter."""
        if self._log.isEnabledFor(logging.WARNING):
            hidden = secrets.conceal(fault.line)
            self._say(
                logging.WARNING, "step %r is parked as dead letter %d: %s", name, letter, hidden, run=run_id, step=name
            )

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        """A batch has come that far."""
        if total is not None and done + dead >= total:
            said = "batch of step %r is over: %d done, %d of them before, %d dead letters"
            self._say(logging.INFO, said, name, done, skipped, dead, run=run_id, step=name)

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        """A step says how far it has come."""
        if self._log.isEnabledFor(logging.DEBUG):
            of = f" of {total:g}" if total is not None else ""
            hidden = secrets.conceal(note)
            self._say(
                logging.DEBUG, "step %r: %g%s %s", call.spec.name, done, of, hidden, run=run_id, step=call.spec.name
            )

    def _say(self, level: int, message: str, *particulars: object, **place: object) -> None:
        if self._log.isEnabledFor(level):
            particulars = tuple(one_line(each) if type(each) is str else each for each in particulars)
            place.setdefault("workflow", self._workflows.get(str(place.get("run", "")), ""))
            self._log.log(
                level,
                message,
                *particulars,
                extra={f"perdure_{name}": place.get(name, 0 if name == "attempt" else "") for name in json_logs.FIELDS},
            )


def error_line(error: BaseException) -> str:
    """An exception in one line, without credentials."""
    try:
        text = error.what if isinstance(error, PerdureError) else str(error)
    except Exception:  # noqa: BLE001  a __str__ of the user's may fail
        text = ""
    first = secrets.conceal(text).strip().partition("\n")[0][:500]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _of(run_id: str, call: Call, attempt: int) -> dict[str, object]:
    return {"run": run_id, "step": call.spec.name, "attempt": attempt}
