"""The steps of a run a page at a time, short enough to be a row of a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from perdure.config import secrets
from perdure.core.dead_letters import LetterRecord
from perdure.core.exceptions import capture
from perdure.core.execution.cleanup_records import called
from perdure.core.policies.verdicts import unpack_verdict
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.core.values.pieces import is_apart
from perdure.errors import PerdureError
from perdure.store import step_pages, timeline
from perdure.store.runs import Store
from perdure.store.step_pages import Wanted

Show = Literal["all", "dead", "failed", "retried"]

INPUTS = 120
"""Characters of the inputs of a row."""

SECONDS = 2.0
"""What a page may take, about; then it says where to go on."""

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


class StepRows(msgspec.Struct, frozen=True):
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
    clock: Callable[[], float] = time.monotonic,
) -> StepRows:
    """A page of the steps of a run, in the order in which they were saved.

    Args:
        store: the state file.
        run: which.
        after: only records with a higher number.
        limit: how many at most.
        show: which of them.
        step: only those of this name.
        text: only those with this in their name or inputs, as it is stored: its case counts.
        since: only those whose last attempt began then or later, in milliseconds from the start of the run.
        until: only those whose last attempt began before then.
        clock: seconds that only go forward.

    Raises:
        StateError: the file cannot be read.
    """
    wanted = Wanted(
        name=step,
        status=show if show in ("dead", "failed") else None,
        again=show == "retried",
        since=None if since is None else run.created + since / 1000,
        until=None if until is None else run.created + until / 1000,
        text=text or None,
    )
    ends = clock() + SECONDS
    records: list[StepRecord] = []
    at: tuple[int, int] | None = (0, after)
    while at is not None and len(records) < limit and clock() < ends:
        found, at = step_pages.chunk(store, run.rid, wanted, "first", at, limit - len(records))
        records += found
    last, total = timeline.total(store, run.rid)
    following = None if at is None or at[1] >= last else at[1]
    return StepRows(Rows(store, run).of(records), following, last, total)


class Rows:
    """Makes rows of the records of a run; what is secret is asked for once."""

    def __init__(self, store: Store, run: RunRecord) -> None:
        self._store = store
        self._run = run
        self._hide = secrets.redactor()

    def of(self, records: Sequence[StepRecord]) -> list[StepRow]:
        """Records as rows."""
        rid = self._run.rid
        tries = step_pages.tries_of(
            self._store, rid, [(one.name, one.key, one.n) for one in records if one.attempts > 1]
        )
        letters = step_pages.letters_of(self._store, rid, [one.seq for one in records if one.status == "dead"])
        return [self._row(one, tries.get((one.name, one.key, one.n), []), letters.get(one.seq)) for one in records]

    def _row(self, record: StepRecord, tries: Sequence[AttemptRecord], letter: LetterRecord | None) -> StepRow:
        name, given = called(record.kind, record.name, record.input)
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
            letter=None if letter is None else letter.lid,
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
