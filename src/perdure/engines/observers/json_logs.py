"""Logging: which run, step and attempt a record comes from, and records as lines of JSON.

Nothing here imports `logging` before somebody needs it: a script that does not log does not pay for it.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from perdure.config import secrets
from perdure.core.redaction.printable import json_text
from perdure.engines.interface import StepContext, here

if TYPE_CHECKING:
    import logging

NAME = "perdure"
"""The logger under which perdure says what happens."""

FIELDS = ("run", "workflow", "step", "attempt")
"""Each is an attribute `perdure_...` of a record, and a key in a line of JSON."""


class LogContext:
    """A filter that says where a record comes from; add it to a handler with `addFilter`.

    It lets every record pass, and gives it `perdure_run`, `perdure_workflow`, `perdure_step` and `perdure_attempt` for
    the handler's format string: texts, the last a number, empty and 0 outside of a run.

    It goes on a handler, since the filters of a logger see nothing of the loggers below it; and on a QueueHandler
    rather than on the handlers behind the queue, which know nothing any more of the thread that a record comes from.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete a record."""
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
        return inside.run_id, _workflow(inside.scope), inside.call.spec.name, inside.attempt
    return inside.id, _workflow(inside), "", 0  # type: ignore[union-attr]  # a Scope


def _workflow(scope: Any) -> str:
    return str(getattr(getattr(scope, "run", None), "workflow", ""))


class JsonFormatter:
    """Makes one line of JSON of a record: time (UTC), level, logger, message; run, workflow, step and attempt if it
    comes from one; exception; and what was given as `extra`. Credentials are taken out of all of it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        import json
        import logging

        from perdure.core.redaction.nested import conceal

        hide = secrets.conceal
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": hide(record.getMessage()),
        }
        fields |= {name: value for name in FIELDS if (value := getattr(record, f"perdure_{name}", None))}
        if record.exc_info:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            fields["exception"] = hide(record.exc_text)
        if record.stack_info:
            fields["stack"] = hide(record.stack_info)
        known = _ordinary() | {f"perdure_{name}" for name in FIELDS}
        for name, value in record.__dict__.items():
            if name not in known and name not in fields:
                fields[name] = conceal(value if _is_plain(value) else repr(value), hide, name)
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
    """The logger `perdure`, quiet as long as nobody has set up logging."""
    import logging

    found = logging.getLogger(NAME)
    if not any(isinstance(each, logging.NullHandler) for each in found.handlers):
        found.addHandler(logging.NullHandler())
    return found


def heard(shown: bool = False) -> bool:
    """Whether somebody has set up logging such that what perdure logs goes anywhere.

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


def as_json(stream: TextIO | None = None) -> None:
    """Write what all loggers say as lines of JSON; once, however often it is called.

    Args:
        stream: where to; standard error by default.
    """
    import logging

    root = logging.getLogger()
    if any(isinstance(each.formatter, JsonFormatter) for each in root.handlers):
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())  # type: ignore[arg-type]  # a formatter by its method
    handler.addFilter(LogContext())
    root.addHandler(handler)
    if root.level in (logging.NOTSET, logging.WARNING):
        root.setLevel(logging.INFO)
