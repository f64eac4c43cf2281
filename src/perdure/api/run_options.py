"""The options of one run: `with_options`."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import msgspec

from perdure.api.options import checked_name, refuse_dash
from perdure.api.queue import Queue, checked_queue
from perdure.core import durations
from perdure.core.durations import Duration
from perdure.errors import OptionError, UsageError

MOST = 1_000
"""The largest number that a priority may be."""


class RunOptions(msgspec.Struct, frozen=True):
    """How a run is started or enqueued; None: not said.

    Attributes:
        id: exactly one run has it, ever.
        queue: the queue that it stands in.
        priority: 0 comes first.
        key: of which only so many run at a time, if the queue says so.
        dedup: while a run of the workflow with this key is unfinished, that one is meant.
        delay: seconds after which it may begin.
        at: the same as seconds since the epoch.
    """

    id: str | None = None
    queue: str | None = None
    priority: int | None = None
    key: str | None = None
    dedup: str | None = None
    delay: float | None = None
    at: float | None = None

    def refuse_queueing(self, owner: str, how: str) -> None:
        """What is said about a queue has no effect on a run that begins at once.

        Raises:
            UsageError: something is.
        """
        for name in ("queue", "priority", "key", "dedup", "delay", "at"):
            if getattr(self, name) is not None:
                raise UsageError(
                    f"{owner} is {how} with_options({name}=...), which is for runs that stand in a queue",
                    f"call .enqueue(...) of it to put it into a queue; or remove {name}=",
                )


def checked_options(before: RunOptions, given: dict[str, Any]) -> RunOptions:
    """Options with those that are given, checked.

    Raises:
        OptionError: one is not valid.
    """
    checked = {name: CHECKS[name](value) for name, value in given.items() if value is not None}
    options = msgspec.structs.replace(before, **checked)
    if options.delay is not None and options.at is not None:
        raise OptionError("a run is given both delay= and at=", "give one of the two")
    return options


def checked_id(id: object) -> str:
    """The id of a run, checked.

    Raises:
        OptionError: it is not printable text, or commands take it for something else.
    """
    if not isinstance(id, str) or not id or not id.isprintable():
        raise OptionError(f"the id of a run is {id!r}", "give a printable text that is not empty")
    refuse_dash("the id of a run", id)
    if id == "last":
        raise OptionError("the id of a run is 'last', which names the newest run in commands", "give another one")
    return id


def _priority(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise OptionError(f"priority is {value!r}", f"give a whole number from 0, which comes first, to {MOST}")
    return value


def _text(option: str) -> Any:
    return lambda value: checked_name(value, option)


def _queue(value: str | Queue) -> str:

    return checked_queue(value)


def _delay(value: Duration) -> float:
    return durations.seconds(value, option="delay")


def _at(value: object) -> float:
    if not isinstance(value, datetime):
        raise OptionError(f"at is {value!r}", "give a datetime with a time zone")
    if value.tzinfo is None or value.utcoffset() is None:
        raise OptionError(
            f"at is {value!r}, which has no time zone", "give it one: value.astimezone() takes it for local time"
        )
    moment = value.timestamp()
    if abs(moment - time.time()) > durations.LONGEST:
        raise OptionError(f"at is {value!r}, more than a hundred years away", "give a moment that comes")
    return moment


CHECKS: dict[str, Any] = {
    "id": checked_id,
    "queue": _queue,
    "priority": _priority,
    "key": _text("key"),
    "dedup": _text("dedup key"),
    "delay": _delay,
    "at": _at,
}
