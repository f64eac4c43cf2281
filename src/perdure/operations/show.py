"""One run in full: `perdure show`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.dead_letters import LetterRecord
from perdure.core.exceptions import capture
from perdure.core.execution.cleanup_records import called
from perdure.core.policies.verdicts import Verdict
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.timestamps import moment
from perdure.errors import PerdureError
from perdure.operations.find_step import check_name
from perdure.operations.processes import ProcessView, Suspect, process_of, suspects_of
from perdure.operations.ps import RunView, view_of
from perdure.operations.sessions import SessionView, sessions_of
from perdure.operations.stored_failures import verdict_of
from perdure.store import dead_letters, published, signals
from perdure.store.forks import is_behind
from perdure.store.runs import Store

Identity = tuple[str, bytes, int]


class ErrorView(msgspec.Struct, frozen=True):
    """An error that was written down."""

    type: str
    message: str
    notes: list[str]
    traceback: str


class AttemptView(msgspec.Struct, frozen=True):
    """A try that failed; `number` counts from 1, `epoch` how often the run had failed before, `seconds` it took.

    `verdict` is what was known of the failure when it happened.
    """

    number: int
    epoch: int
    error: ErrorView
    started: datetime | None
    seconds: float
    verdict: Verdict


class StepView(msgspec.Struct, frozen=True):
    """A call that the workflow has moved past. `status` is done, failed (and handled), dead (a dead letter) or
    abandoned (the workflow gave it up).

    `letter` is the number of the dead letter that it is or was, `standing` how that stands. Of one that was resolved by
    a redrive after the run could see it, `result` is what the redrive came to, and `error` what the run saw.
    `verdict` is what was known of what it failed with. `behind`: its source did that behind the point from which this
    run was forked, so this run makes the call again.
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
    verdict: Verdict | None = None


class OpenStep(msgspec.Struct, frozen=True):
    """A call that was tried, failed, and has no record: what ended the run, or is being tried still."""

    name: str
    inputs: Any
    failures: list[AttemptView]


class SentView(msgspec.Struct, frozen=True):
    """A signal that no wait has taken. `aside`: why its value did not fit the wait that it was for; else None."""

    event: str
    key: str
    id: str | None
    value: Any
    sent: datetime | None
    aside: str | None


class ProgressView(msgspec.Struct, frozen=True):
    """How far the workflow said last that it is, in its own unit; `total` is None if that is not known."""

    done: float
    total: float | None
    note: str
    at: datetime | None


class RunDetails(msgspec.Struct, frozen=True):
    """A run in full.

    Inputs and results are text, or plain data if asked for. `earlier` is how many steps were left out at the beginning,
    `parent` the id of the run whose child this is. `process` is who executes it, or did when it died; `suspects` are
    the calls that crashes speak against; `notes` say which calls were not saved. `verdict` is what was known of
    `error` when it happened. `signals` are those that no wait has taken, `published` is what it has published by name.
    `sessions` are the processes that executed it.
    """

    run: RunView
    inputs: Any
    result: Any
    error: ErrorView | None
    parent: str | None
    earlier: int
    steps: list[StepView]
    open: list[OpenStep]
    children: list[RunView]
    process: ProcessView | None = None
    suspects: list[Suspect] = []
    notes: list[str] = []
    verdict: Verdict | None = None
    signals: list[SentView] = []
    published: dict[str, Any] = {}
    progress: ProgressView | None = None
    sessions: list[SessionView] = []


def details_of(
    store: Store,
    run: RunRecord,
    *,
    step: str | None = None,
    limit: int | None = None,
    before: int | None = None,
    data: bool = False,
) -> RunDetails:
    """A run in full.

    Args:
        store: the state file.
        run: which.
        step: only the steps of this name.
        limit: how many steps at most, the last ones; None for all.
        before: only steps whose record has a lower number than this.
        data: give inputs and results as plain data, as large as they are, rather than as text of bounded length.

    Raises:
        NotFound: no step has that name.
        StateError: the file cannot be read.
    """
    if step is not None:
        check_name(store, run, step)
    failures: dict[Identity, list[AttemptRecord]] = {}
    for attempt in store.attempt_records(run.rid):
        if step in (None, attempt.name):
            failures.setdefault((attempt.name, attempt.key, attempt.n), []).append(attempt)
    index = [
        (seq, name, key, n)
        for seq, name, key, n, _, kind in store.index(run.rid)
        if step in (None, name) and kind not in ("undo", "timers")
    ]
    if before is not None:
        for _, name, key, n in (one for one in index if one[0] >= before):
            failures.pop((name, key, n), None)
        index = [one for one in index if one[0] < before]
    earlier = max(len(index) - limit, 0) if limit is not None else 0
    for _, name, key, n in index[:earlier]:
        failures.pop((name, key, n), None)
    wanted = {seq for seq, *_ in index[earlier:]}
    show = _as_data if data else _as_text
    dead = {letter.seq: letter for letter in dead_letters.of_run(store, run.rid)}
    steps = [
        _step(
            store.whole(record),
            failures.pop((record.name, record.key, record.n), []),
            show,
            dead.get(record.seq),
            behind=is_behind(store, run, record.seq),
            script=run.path,
        )
        for record in (_from(store, run.rid, min(wanted), max(wanted)) if wanted else ())
        if record.seq in wanted
    ]
    failed = run.status == "failed"
    left = failed or run.status == "parked" or (run.status == "running" and run.holder is None)
    stop = store.stopped_by(run) if left else None
    shown = published.of_run(store, run.rid)
    error = run.output if failed else stop.error if stop is not None and run.status == "running" else None
    return RunDetails(
        run=view_of(store, run),
        inputs=show.inputs(run.input),
        result=show.value(run.output) if run.output is not None and not failed else None,
        error=error_view(error) if error else None,
        parent=store.run_by_number(run.parent).id if run.parent is not None else None,
        earlier=earlier,
        steps=steps,
        open=[
            OpenStep(tries[0].name, show.inputs(tries[0].input), _attempts(tries, run.path))
            for tries in failures.values()
        ],
        children=[view_of(store, store.run(id)) for id in store.children(run.rid)],
        process=process_of(store, run),
        suspects=suspects_of(store, run),
        notes=[error_view(note.error).message for note in store.notes(run.rid)],
        verdict=verdict_of(run.path, stop.verdict if stop is not None else None, error) if error else None,
        signals=[
            SentView(one.event, one.topic, one.id, show.value(one.value), moment(one.stamp), one.reason)
            for one in signals.not_taken(store, run.rid)
        ],
        published={one.name: show.value(one.value) for one in shown if one.name != published.PROGRESS},
        progress=next((_progress(one) for one in shown if one.name == published.PROGRESS), None),
        sessions=sessions_of(store, run),
    )


def _progress(one: published.Published) -> ProgressView:
    done, total, note = secrets.to_builtins(one.value)
    return ProgressView(done, total, note, moment(one.stamp))


class _Show(msgspec.Struct, frozen=True):
    inputs: Any
    value: Any


_as_text = _Show(secrets.describe_inputs, secrets.describe)
_as_data = _Show(secrets.to_builtins, secrets.to_builtins)


def _from(store: Store, rid: int, first: int, last: int) -> Iterable[StepRecord]:
    while first <= last and (chunk := store.records(rid, first)):
        yield from chunk
        first = chunk[-1].seq + 1


def _step(
    record: StepRecord,
    tries: list[AttemptRecord],
    show: _Show,
    letter: LetterRecord | None,
    *,
    behind: bool,
    script: str,
) -> StepView:
    failures = _attempts(tries, script, recovered=record.status == "done")
    done, given_up = record.status == "done", record.status == "abandoned"
    result = record.output if done else letter.result if letter else None
    name, given = called(record.kind, record.name, record.input)
    return StepView(
        seq=record.seq,
        name=name,
        status=record.status,
        inputs=show.inputs(given),
        result=None if result is None else show.value(result),
        error=None if done or given_up else error_view(record.output),
        attempts=record.attempts,
        started=None if given_up else moment(record.started),
        seconds=record.ms / 1000,
        failures=failures,
        letter=letter.lid if letter else None,
        standing=letter.status if letter else None,
        behind=behind,
        verdict=None
        if done or given_up
        else failures[-1].verdict
        if failures
        else verdict_of(script, None, record.output),
    )


def _attempts(tries: list[AttemptRecord], script: str, *, recovered: bool = False) -> list[AttemptView]:
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
        )
        for one in tries
    ]


def error_view(data: bytes) -> ErrorView:
    """A packed fault; one that cannot be read is shown as such."""
    try:
        fault = capture.decode(data)
    except PerdureError as unreadable:
        return ErrorView("unreadable", unreadable.what, [], "")
    hide = secrets.redactor()  # what was stored by an earlier version, or before a value was known to be secret
    return ErrorView(fault.name, hide(fault.message), list(map(hide, fault.notes)), hide(fault.traceback))
