"""The steps of a run a page at a time, short enough to be a row of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from perdure.config import secrets
from perdure.core.exceptions import capture
from perdure.core.execution.cleanup_records import called
from perdure.core.policies.verdicts import unpack_verdict
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.core.values.pieces import is_apart
from perdure.errors import PerdureError
from perdure.store import dead_letters, step_choice
from perdure.store.runs import Store
from perdure.store.step_choice import Choice

Show = Literal["all", "dead", "failed", "retried"]

INPUTS = 120
"""Characters of the inputs of a row."""

LONG = 2_000
"""Characters that are looked through for credentials before a text is cut."""


class Try(msgspec.Struct, frozen=True):
    """A failed attempt: milliseconds from the start of the run to its start, how many it took, and what it failed with.

    `throttled`: the service asked for fewer calls.
    """

    at: float
    ms: int
    throttled: bool
    error: str


class StepRow(msgspec.Struct, frozen=True):
    """A call as a row of a table. `at` is the start of its first attempt and `last_at` that of its last one, in
    milliseconds from the start of the run; `ms` is how long the last one took. `failures` are those before it."""

    seq: int
    name: str
    inputs: str
    status: str
    attempts: int
    at: float
    last_at: float
    ms: int
    failures: list[Try]
    error: str | None = None
    letter: int | None = None


class StepPage(msgspec.Struct, frozen=True):
    """A page of steps.

    `next` is the number behind which to go on; None: these are all. `last` is the number of the last record of the
    run, and `total` how many records it has, whatever was asked for.
    """

    steps: list[StepRow]
    next: int | None
    last: int
    total: int


def step_rows(
    store: Store,
    run: RunRecord,
    *,
    after: int = 0,
    limit: int = 100,
    show: Show = "all",
    step: str | None = None,
    text: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> StepPage:
    """A page of the steps of a run, in the order in which they were saved.

    Args:
        store: the state file.
        run: which.
        after: only records with a higher number.
        limit: how many at most.
        show: which of them.
        step: only those of this name.
        text: only those with this in their name, inputs or error; its case counts.
        since: with `until`: only those at work in that time, in milliseconds from the start of the run.
        until: see `since`.

    Raises:
        StateError: the file cannot be read.
    """
    timed = since is not None and until is not None
    choice = Choice(
        status=show if show in ("dead", "failed") else None,
        retried=show == "retried",
        name=step,
        since=run.created + since / 1000 if timed and since is not None else None,
        until=run.created + until / 1000 if timed and until is not None else None,
        text=text or None,
    )
    letters = {one.seq: one.lid for one in dead_letters.of_run(store, run.rid)}
    rows = Rows(store, run)
    found: list[StepRow] = []
    following: int | None = None
    for record in _records(store, run, choice, after, limit + 1):
        if len(found) == limit:
            following = found[-1].seq
            break
        found.append(rows.of(record, letters.get(record.seq)))
    last, total = step_choice.last_number(store, run.rid)
    return StepPage(found, following, last, total)


def _records(store: Store, run: RunRecord, choice: Choice, after: int, most: int) -> Iterator[StepRecord]:
    while True:
        if choice.is_all:
            found = store.records(run.rid, after + 1, most)
        else:
            chosen = step_choice.numbers(store, run.rid, choice, after, most)
            found = [record for seq in chosen for record in store.records(run.rid, seq, 1)]
        yield from (record for record in found if record.kind not in ("undo", "timers"))
        if not found:
            return
        after = found[-1].seq


class Rows:
    """Makes rows of the records of a run; what is secret is asked for once."""

    def __init__(self, store: Store, run: RunRecord) -> None:
        self._store = store
        self._run = run
        self._hide = secrets.redactor()

    def of(self, record: StepRecord, letter: int | None) -> StepRow:
        """A record as a row."""
        name, given = called(record.kind, record.name, record.input)
        many = record.attempts > 1
        tries = self._store.attempts_of(self._run.rid, record.name, record.key, record.n) if many else []
        failures = [self.failed(one) for one in tries if one.started < record.started]
        last_at = self._at(record.started)
        return StepRow(
            seq=record.seq,
            name=name,
            inputs=self.inputs(given),
            status=record.status,
            attempts=record.attempts,
            at=failures[0].at if failures else last_at,
            last_at=last_at,
            ms=record.ms,
            failures=failures,
            error=self._error(record.output) if record.status not in ("done", "abandoned") else None,
            letter=letter,
        )

    def failed(self, one: AttemptRecord) -> Try:
        """A failed attempt as a row has it."""
        verdict = unpack_verdict(one.verdict)
        return Try(
            self._at(one.started), one.ms, verdict is not None and verdict.kind == "throttled", self._error(one.error)
        )

    def inputs(self, given: bytes) -> str:
        """Inputs in a few words."""
        if is_apart(given):
            return "(large)"
        text = self._hide(codec.describe_inputs(given, LONG))
        return text if len(text) <= INPUTS else f"{text[: INPUTS - 3]}..."

    def _error(self, packed: bytes) -> str:
        if is_apart(packed):
            return "(large)"
        try:
            return self._hide(capture.decode(packed).line[:LONG])
        except PerdureError as unreadable:
            return unreadable.what

    def _at(self, moment: float) -> float:
        return round((moment - self._run.created) * 1000, 1)
