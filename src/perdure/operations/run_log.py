"""What the attempts of a run have logged and printed: `perdure show RUN --log`."""

from __future__ import annotations

from datetime import datetime

import msgspec

from perdure.config import secrets
from perdure.core.records import RunRecord, StepRecord
from perdure.core.timestamps import moment
from perdure.store import attempt_logs
from perdure.store.runs import Store


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


def log_of(
    store: Store, run: RunRecord, *, step: str | None = None, call: StepRecord | None = None, limit: int | None = None
) -> list[LogView]:
    """The lines of a run, oldest first.

    Args:
        store: the state file.
        run: which.
        step: only those of attempts of this step.
        call: only those of attempts of this call.
        limit: how many at most, the last ones; None for all.
    """
    meant = None if call is None else (call.name, call.key, call.n)
    found = [
        one
        for one in attempt_logs.lines_of(store.path, run.id)
        if step in (None, one.name) and meant in (None, (one.name, one.key, one.n))
    ]
    found.sort(key=lambda one: one.at)
    hide = secrets.redactor()  # what was not known to be a secret then
    return [
        LogView(moment(one.at), one.name, one.key.hex(), one.n, one.attempt, one.level, one.logger, hide(one.text))
        for one in (found if limit is None else found[-limit:] if limit else [])
    ]
