"""An event as plain data, without credentials: what JSON lines hold of it, and whatever else stores or sends events."""

from __future__ import annotations

from typing import Any

from perdure.config import secrets
from perdure.core.exceptions.capture import Fault
from perdure.core.execution.spec import Call
from perdure.engines.events import Event
from perdure.errors import PerdureError

LONGEST = 500
"""Characters of an exception's message that are kept."""


def to_json(event: Event) -> dict[str, Any]:
    """The JSON object of an event: texts, numbers, booleans and null.

    `event` names its kind, in snake case; the other keys are the fields of the event, and `null` where one is None. For
    a call there are `step`, `key` (32 hexadecimal digits) and `n` (how many calls of that step and key came before in
    the run); for an exception `error_type` and `error`, its class and its first line. Nothing is said of a call's
    inputs and results.
    """
    found: dict[str, Any] = {"event": event.__struct_config__.tag}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, Call):
            found |= {"step": value.spec.name, "key": value.key.hex(), "n": value.n}
        elif isinstance(value, Fault):
            found |= {"error_type": _full(value.module, value.qualname), "error": secrets.conceal(value.line)}
        elif isinstance(value, BaseException):
            found |= {"error_type": error_type(value), "error": error_line(value)}
        elif name == "error":
            found |= {"error_type": None, "error": None}
        else:
            found[name] = secrets.conceal(value) if name in ("note", "reason") else value
    return found


def error_line(error: BaseException) -> str:
    """An exception in one line: its class and the first line of its message, without credentials."""
    try:
        text = error.what if isinstance(error, PerdureError) else str(error)
    except Exception:  # noqa: BLE001  a __str__ of the user's may fail
        text = ""
    first = secrets.conceal(text).strip().partition("\n")[0][:LONGEST]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def error_type(error: BaseException) -> str:
    """The full name of the class of an exception; that of a built-in one without its module."""
    return _full(type(error).__module__, type(error).__qualname__)


def _full(module: str, qualname: str) -> str:
    return qualname if module == "builtins" else f"{module}.{qualname}"
