"""Writes what happens into the log, under the name `perdure`."""

from __future__ import annotations

import logging
from typing import Any, assert_never

from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.redaction.printable import one_line
from perdure.engines.events import (
    AttemptEnded,
    AttemptStarted,
    CallHeld,
    DeadLetterParked,
    Event,
    MapProgress,
    RetryScheduled,
    RunEnded,
    RunResumed,
    RunStarted,
    RunStopped,
    RunSuspended,
    RunWaits,
    StepProgress,
    StepReplayed,
)
from perdure.engines.observers import json_logs
from perdure.engines.observers.event_json import error_line, to_json

LEVELS: dict[type, int] = {
    RunWaits: logging.INFO,
    RunStarted: logging.INFO,
    RunResumed: logging.INFO,
    RunStopped: logging.WARNING,
    RunSuspended: logging.INFO,
    StepReplayed: logging.DEBUG,
    AttemptStarted: logging.DEBUG,
    RetryScheduled: logging.INFO,
    CallHeld: logging.INFO,
    DeadLetterParked: logging.WARNING,
    StepProgress: logging.DEBUG,
}
"""The levels of the events whose level does not depend on what is in them."""


class LogObserver:
    """Logs events.

    Steps that are done go at DEBUG; runs, waits and maps at INFO; failed attempts, dead letters and runs that are
    broken off at WARNING; failed runs at ERROR. Every record says which run, workflow, step and attempt it is about.

    Args:
        as_json: records are written as lines of JSON, and have all fields of their events.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self._log = json_logs.logger()
        self._as_json = as_json

    def notify(self, event: Event) -> None:
        """Log an event, if its level is enabled."""
        level = LEVELS.get(type(event)) or _level(event)
        if level and self._log.isEnabledFor(level):
            message, *words = _words(event)
            particulars = [one_line(each) if type(each) is str else each for each in words]
            extra = _place(event)
            if self._as_json:
                extra["perdure_event"] = to_json(event)
            self._log.log(level, message, *particulars, extra=extra)


def _level(event: Event) -> int:
    """The level of an event by what is in it; 0 if it is not logged."""
    match event:
        case AttemptEnded():
            return logging.DEBUG if event.error is None else logging.WARNING
        case RunEnded():
            return {"done": logging.INFO, "cancelled": logging.WARNING}.get(event.status, logging.ERROR)
        case MapProgress():
            return logging.INFO if event.total is not None and event.done + event.dead >= event.total else 0
    return 0


def _words(event: Event) -> tuple[Any, ...]:
    """The message of an event with its particulars, as logging takes them, without credentials."""
    match event:
        case AttemptStarted():
            return "step %r: attempt %d begins", event.step, event.attempt
        case AttemptEnded():
            if event.error is None:
                return "step %r ran in %s", event.step, show(event.seconds)
            said = "step %r failed at attempt %d, after %s: %s"
            return said, event.step, event.attempt, show(event.seconds), error_line(event.error)
        case StepReplayed():
            return "step %r was saved before", event.step
        case RetryScheduled():
            return "step %r is tried again in %s", event.step, show(event.seconds)
        case CallHeld():
            return "step %r is held: %s; it asks again in %s", event.step, event.reason, show(event.seconds)
        case DeadLetterParked():
            line = secrets.conceal(event.fault.line)
            return "step %r is parked as dead letter %d: %s", event.step, event.letter, line
        case MapProgress():
            said = "batch of step %r is over: %d done, %d of them before, %d dead letters"
            return said, event.step, event.done, event.skipped, event.dead
        case StepProgress():
            of = f" of {event.total:g}" if event.total is not None else ""
            return "step %r: %g%s %s", event.step, event.done, of, secrets.conceal(event.note)
        case RunWaits():
            return "workflow %r has to wait: %s", event.workflow, event.reason
        case RunStarted():
            return "run %s started", event.run
        case RunResumed():
            return "run %s resumed, with %d steps saved before", event.run, event.recorded
        case RunEnded():
            return "run %s %s", event.run, event.status
        case RunStopped():
            return "run %s was broken off: %s", event.run, error_line(event.error)
        case RunSuspended():
            return "run %s is suspended: all that it does waits", event.run
    assert_never(event)


def _place(event: Event) -> dict[str, Any]:
    """The attributes of a record: the run, workflow, step and attempt, empty and 0 where there is none."""
    return {
        "perdure_run": getattr(event, "run", ""),
        "perdure_workflow": event.workflow,
        "perdure_step": getattr(event, "step", ""),
        "perdure_attempt": getattr(event, "attempt", 0),
    }
