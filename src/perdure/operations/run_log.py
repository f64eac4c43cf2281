"""What the attempts of a run have logged and printed: `perdure show RUN --log`."""

from __future__ import annotations

from datetime import datetime
from math import inf
from typing import Any, Final, Literal, get_args

import msgspec

from perdure.config import secrets
from perdure.core.records import RunRecord, StepRecord
from perdure.core.timestamps import moment
from perdure.store import attempt_logs, step_pages
from perdure.store.attempt_logs import LogLine
from perdure.store.runs import Store

SLACK = 600.0
"""Seconds that clocks of processes, and the times of files, may differ."""


class LogView(msgspec.Struct, frozen=True):
    """A line that was logged or printed.

    Attributes:
        at: when.
        step: by an attempt of which step.
        key, n: which call of it, as in `steps`; the key in hexadecimal digits.
        attempt: which attempt, from 1.
        level: that of the log record; empty for what was printed.
        logger: its name; "stdout" or "stderr" for what was printed; empty where lines were left out.
        text: the line.
    """

    at: datetime | None
    step: str
    key: str
    n: int
    attempt: int
    level: str
    logger: str
    text: str


Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_AT_LEAST: Final[dict[Level | None, tuple[str, ...]]] = {
    level: get_args(Level)[number:] for number, level in enumerate(get_args(Level))
}


def log_of(
    store: Store,
    run: RunRecord,
    *,
    step: str | None = None,
    call: StepRecord | None = None,
    limit: int | None = None,
    level: Level | None = None,
    text: str | None = None,
    until: datetime | None = None,
) -> list[LogView]:
    """The lines of a run, oldest first.

    Args:
        store: the state file.
        run: which.
        step: only those of attempts of this step.
        call: only those of attempts of this call.
        limit: how many at most, the last ones; None for all.
        level: only records of that level or a graver one; lines that were printed have none.
        text: only lines with this in them, or in the name of their step or logger, as they are shown: its case counts.
        until: only lines of that moment, and earlier ones.
    """
    levels = None if level is None else _AT_LEAST[level]
    meant = None if call is None else (call.name, call.key, call.n)
    found = [
        one
        for one in attempt_logs.lines_of(store.path, run.id, **_where(store, run, call))
        if step in (None, one.name) and meant in (None, (one.name, one.key, one.n))
        if levels is None or one.level in levels
        if until is None or ((at := moment(one.at)) is not None and at <= until)
    ]
    found.sort(key=lambda one: one.at)
    hide = secrets.redactor()  # what was not known to be a secret then
    shown: list[LogView] = []
    for one in reversed(found):
        if limit is not None and len(shown) >= limit:
            break
        line = hide(one.text)
        if text is None or text in line or text in one.name or text in one.logger:
            shown.append(log_view(one, line))
    return shown[::-1]


def log_view(line: LogLine, text: str) -> LogView:
    """A line with the text that is shown of it."""
    about = line.name, line.key.hex(), line.n, line.attempt, line.level, line.logger
    return LogView(moment(line.at), *about, text)


def _where(store: Store, run: RunRecord, call: StepRecord | None) -> dict[str, Any]:
    """Which files can have lines of a call: those of the time from its first attempt to its end, or until now, if it is
    a dead letter, which may have been tried again."""
    if call is None:
        return {}
    identity = (call.name, call.key, call.n)
    tries = step_pages.tries_of(store, run.rid, [identity]).get(identity, []) if call.attempts > 1 else []
    began = min((call.started, *(one.started for one in tries)))
    letter = step_pages.letters_of(store, run.rid, [call.seq])
    until = inf if letter else call.started + call.ms / 1000 + SLACK
    return {"holding": call.key, "since": began - SLACK, "until": until}
