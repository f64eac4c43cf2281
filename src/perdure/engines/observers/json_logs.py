"""Logging: which run, step and attempt a record comes from, and records as lines of JSON.

Nothing here imports `logging` before it is needed: a script that does not log does not pay for it.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from perdure.engines.interface import StepContext, here

if TYPE_CHECKING:
    import logging

NAME = "perdure"
"""The logger under which perdure says what happens."""

FIELDS = ("run", "workflow", "step", "attempt")
"""Each is an attribute `perdure_...` of a record, and a key in a line of JSON."""

EVENT = "perdure_event"
"""The attribute of a record with the JSON object of its event."""


class LogContext:
    """A logging filter that adds run, workflow, step and attempt: `handler.addFilter(perdure.LogContext())`.

    Every record passes, and gets the attributes `perdure_run`, `perdure_workflow`, `perdure_step` (str, empty outside
    of a run) and `perdure_attempt` (int, 0 outside of a step) for the format string of the handler.

    Add it to a handler: the filters of a logger do not see the records of the loggers below it. With a QueueHandler add
    it to that one, since the handlers behind the queue run in another thread.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes to a record; `logging` calls this. Returns True: the record passes."""
        for name, value in zip(FIELDS, place(), strict=True):
            attribute = f"perdure_{name}"
            if not hasattr(record, attribute):  # what perdure logs about a step says by itself which
                setattr(record, attribute, value)
        return True


def place() -> tuple[str, str, str, int]:
    """Where the code that asks is running: run, workflow, step and attempt; empty and 0 where it is in none."""
    inside = here.get()
    if inside is None:
        return "", "", "", 0
    if type(inside) is StepContext:
        workflow = _workflow(inside.scope) if inside.orderer is None else inside.orderer.workflow
        return inside.run_id, workflow, inside.call.spec.name, inside.attempt
    return inside.id, _workflow(inside), "", 0  # type: ignore[union-attr]  # a Scope


def _workflow(scope: Any) -> str:
    return str(getattr(getattr(scope, "run", None), "workflow", ""))


class JsonFormatter:
    """Makes one line of JSON of a record: time (UTC), level, logger, message; run, workflow, step and attempt if it
    comes from one; the fields of the event, if perdure logs one; exception; and what was given as `extra`. Credentials
    are taken out of all of it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        import json
        import logging

        from perdure.config import secrets
        from perdure.core.redaction.nested import redact_nested
        from perdure.core.redaction.printable import json_text

        hide = secrets.conceal
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": hide(record.getMessage()),
        }
        fields |= {name: value for name in FIELDS if (value := getattr(record, f"perdure_{name}", None))}
        fields |= getattr(record, EVENT, {})
        if record.exc_info:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            fields["exception"] = hide(record.exc_text)
        if record.stack_info:
            fields["stack"] = hide(record.stack_info)
        known = _ordinary() | {f"perdure_{name}" for name in FIELDS} | {EVENT}
        for name, value in record.__dict__.items():
            if name not in known and name not in fields:
                fields |= redact_nested({name: value if _is_plain(value) else repr(value)}, hide)
        return json_text(json.dumps(fields, default=lambda value: hide(repr(value))))


def _is_plain(value: Any) -> bool:
    if type(value) in (str, int, float, bool, type(None)):
        return True
    if type(value) is dict:
        return all(type(key) is str and _is_plain(each) for key, each in value.items())
    return type(value) in (list, tuple) and all(map(_is_plain, value))


def _ordinary() -> frozenset[str]:
    global _attributes
    if not _attributes:
        import logging

        _attributes = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
    return _attributes


_attributes: frozenset[str] = frozenset()


def logger() -> logging.Logger:
    """The logger `perdure`, quiet as long as logging is not set up."""
    import logging

    found = logging.getLogger(NAME)
    if not any(isinstance(each, logging.NullHandler) for each in found.handlers):
        found.addHandler(logging.NullHandler())
    return found


def heard(shown: bool = False) -> bool:
    """Whether logging is set up such that what perdure logs goes anywhere.

    Args:
        shown: people see on the terminal what happens, so that handlers which print there as well do not count.
    """
    if "logging" not in sys.modules:
        return False
    import logging

    at: logging.Logger | None = logging.getLogger(NAME)
    while at is not None:
        if any(not isinstance(each, logging.NullHandler) and not (shown and _prints(each)) for each in at.handlers):
            return True
        at = at.parent if at.propagate else None
    return False


def _prints(handler: logging.Handler) -> bool:
    """Does it print for people to read, on standard error or output (or what stands in for them)?"""
    stream = getattr(handler, "stream", None)
    standard = stream is not None and stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return standard and not isinstance(handler.formatter, JsonFormatter)


def is_json() -> bool:
    """Whether what all loggers say is written as lines of JSON."""
    import logging

    return any(isinstance(each.formatter, JsonFormatter) for each in logging.getLogger().handlers)


def as_json(stream: TextIO | None = None) -> None:
    """Write what all loggers say as lines of JSON; once, however often it is called.

    Args:
        stream: where to; standard error by default.
    """
    import logging

    if is_json():
        return
    root = logging.getLogger()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())  # type: ignore[arg-type]  # a formatter by its method
    handler.addFilter(LogContext())
    root.addHandler(handler)
    if root.level in (logging.NOTSET, logging.WARNING):
        root.setLevel(logging.INFO)
