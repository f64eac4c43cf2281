"""Steps, attempts and errors as a person or a program sees them, made of the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.exceptions import capture
from perdure.core.execution.cleanup_records import called
from perdure.core.execution.wait_any_record import returned
from perdure.core.letter_record import LetterRecord
from perdure.core.policies.verdicts import Verdict
from perdure.core.records import SET_ASIDE, AttemptRecord, RunRecord, StepRecord
from perdure.core.timestamps import moment
from perdure.errors import PerdureError
from perdure.operations.kept_counts import counted
from perdure.operations.stored_failures import verdict_of
from perdure.store import step_pages
from perdure.store.runs import Store


class ErrorView(msgspec.Struct, frozen=True):
    """An error that was written down."""

    type: str
    message: str
    notes: list[str]
    traceback: str


class AttemptView(msgspec.Struct, frozen=True):
    """A try that failed; `number` counts from 1, `epoch` how often the run had failed before, `seconds` it took.

    `verdict` is what was known of the failure when it happened. `delay` is how many seconds were to be waited then,
    `delayed_by` who has named them: "policy" or "server".
    """

    number: int
    epoch: int
    error: ErrorView
    started: datetime | None
    seconds: float
    verdict: Verdict
    delay: float | None = None
    delayed_by: str | None = None


class StepView(msgspec.Struct, frozen=True):
    """A call that the workflow has moved past. `status` is done, failed (and handled), dead (a dead letter) or
    abandoned (the workflow gave it up).

    `letter` is the number of the dead letter that it is or was, `standing` how that stands; `undone`: it was taken back
    since, and the run makes it again when it comes to it. Of one that was resolved by
    a redrive after the run could see it, `result` is what the redrive came to, and `error` what the run saw.
    `verdict` is what was known of what it failed with. `behind`: its source did that behind the point from which this
    run was forked, so this run makes the call again.

    `map` is the number of the map that it was an item of, `label` the key that it goes by, as text. `asked` is how many
    seconds after the call was made its last attempt began, and `waits` what it waited for meanwhile: seconds by reason.
    """

    seq: int
    name: str
    status: str
    inputs: Any
    result: Any
    error: ErrorView | None
    attempts: int
    started: datetime | None
    seconds: float
    failures: list[AttemptView]
    letter: int | None = None
    standing: str | None = None
    behind: bool = False
    undone: bool = False
    verdict: Verdict | None = None
    map: int | None = None
    label: str | None = None
    asked: float = 0.0
    waits: dict[str, float] = {}


class OpenStep(msgspec.Struct, frozen=True):
    """A call that was tried, failed, and has no record: what ended the run, or is being tried still."""

    name: str
    inputs: Any
    failures: list[AttemptView]


class Values(msgspec.Struct, frozen=True):
    """How inputs and results are shown."""

    inputs: Any
    value: Any


AS_TEXT = Values(secrets.describe_inputs, secrets.describe)
"""Text of bounded length."""
AS_DATA = Values(secrets.to_builtins, secrets.to_builtins)
"""Plain data, as large as it is."""


def steps_of(
    store: Store, run: RunRecord, records: Sequence[StepRecord], show: Values, behind: Callable[[int], bool]
) -> list[StepView]:
    """Records of a run as they are shown, with their failed attempts and dead letters.

    Args:
        store: the state file.
        run: whose records they are.
        records: as they are stored.
        show: how inputs and results are shown.
        behind: `lineage.behind` of the run.

    Raises:
        StateError: the file cannot be read.
    """
    tries = step_pages.tries_of(store, run.rid, [(one.name, one.key, one.n % SET_ASIDE) for one in records])
    letters = step_pages.letters_of(store, run.rid, [one.seq for one in records])
    return [
        _step(
            store.shown(one),
            [store.shown(each) for each in tries.get((one.name, one.key, one.n % SET_ASIDE), ())],
            show,
            store.shown(letters[one.seq]) if one.seq in letters else None,
            behind=behind(one.seq),
            script=run.path,
        )
        for one in records
    ]


def open_steps(store: Store, run: RunRecord, show: Values, *, step: str | None, most: int) -> list[OpenStep]:
    """The calls of a run that were tried, failed, and have no record: up to `most` of them.

    Raises:
        StateError: the file cannot be read.
    """
    tried = counted(store, run, "open", lambda: step_pages.tried_without_record(store, run.rid))
    calls = [call for call in tried if step in (None, call[0])]
    tries = step_pages.tries_of(store, run.rid, calls)
    found = sorted(tries.values(), key=lambda each: each[0].started)[-most:]
    whole = [[store.shown(one) for one in each] for each in found]
    return [OpenStep(each[0].name, show.inputs(each[0].input), attempt_views(each, run.path)) for each in whole]


def _step(
    record: StepRecord,
    tries: Sequence[AttemptRecord],
    show: Values,
    letter: LetterRecord | None,
    *,
    behind: bool,
    script: str,
) -> StepView:
    failures = attempt_views(tries, script, recovered=record.status == "done")
    done, given_up = record.status == "done", record.status == "abandoned"
    result = returned(record.kind, record.name, record.output) if done else letter.result if letter else None
    name, given = called(record.kind, record.name, record.input)
    return StepView(
        seq=record.seq,
        name=name,
        status=record.status,
        inputs=show.inputs(given),
        result=None if result is None else show.value(result),
        error=None if done or given_up else error_view(record.output),
        attempts=record.attempts,
        started=None if given_up or not record.started else moment(record.started),
        seconds=record.ms / 1000,
        failures=failures,
        letter=letter.lid if letter else None,
        standing=letter.status if letter else None,
        behind=behind,
        undone=record.n >= SET_ASIDE,
        verdict=None
        if done or given_up
        else failures[-1].verdict
        if failures
        else verdict_of(script, None, record.output),
        map=record.batch,
        label=None if record.label is None else secrets.redactor()(record.label),
        asked=(record.asked or 0) / 1000,
        waits=_waits(record.waits),
    )


def _waits(said: str | None) -> dict[str, float]:
    if said is None:
        return {}
    return {reason: ms / 1000 for reason, ms in msgspec.json.decode(said, type=dict[str, int]).items()}


def attempt_views(tries: Sequence[AttemptRecord], script: str, *, recovered: bool = False) -> list[AttemptView]:
    """Attempts that failed. An entry of the catalogue is what a call ended by: one that `recovered` has none."""

    def known(one: AttemptRecord) -> Verdict:
        found = verdict_of(script, one.verdict, one.error)
        return msgspec.structs.replace(found, code=None) if recovered else found

    return [
        AttemptView(
            number=one.number,
            epoch=one.epoch,
            error=error_view(one.error),
            started=moment(one.started),
            seconds=one.ms / 1000,
            verdict=known(one),
            delay=one.delay,
            delayed_by=one.delayed_by,
        )
        for one in tries
    ]


def error_view(data: bytes) -> ErrorView:
    """A packed fault; one that cannot be read is shown as such."""
    try:
        fault = capture.decode(data)
    except PerdureError as unreadable:
        return ErrorView("unreadable", unreadable.what, [], "")
    hide = secrets.conceal  # what was stored by an earlier version, or before a value was known to be secret
    return ErrorView(fault.name, hide(fault.message), list(map(hide, fault.notes)), hide(fault.traceback))
