"""The steps of a run a page at a time, short enough to be a row of a table."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec

from perdure.config import secrets
from perdure.core.exceptions import capture
from perdure.core.execution.cleanup_records import called
from perdure.core.letter_record import LetterRecord
from perdure.core.policies.verdicts import unpack_verdict
from perdure.core.records import SET_ASIDE, AttemptRecord, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.core.values.describe import TRANSLATED, may_show, part_of, word_of
from perdure.core.values.pieces import is_apart
from perdure.errors import OptionError, PerdureError
from perdure.operations.kept_counts import counted
from perdure.operations.paging import PAGE, SECONDS, Budget
from perdure.operations.shown_text import ShownText
from perdure.store import step_pages, timeline
from perdure.store.damaged_rows import LOOK, if_sound
from perdure.store.runs import Store
from perdure.store.step_pages import DamagedStep, Order, Text, Wanted

Show = Literal["all", "dead", "failed", "retried", "waited", "cut"]

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
    milliseconds from the start of the run; `ms` is how long the last one took. `failures` are those before it. `map` is
    the number of the map that it was an item of, `label` the key that it goes by, as text. `made` is when the call was
    made, in the same milliseconds, if it waited before its first attempt; else None. A call of which no attempt was
    made, since its breaker is open for instance, is where the call before it ended.

    Of a call whose `status` is "damaged" there is its number and, as far as these can be read, what else its record
    says: that is not as it was written, or a failed attempt or the letter of the call is not."""

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
    map: int | None = None
    label: str | None = None
    made: float | None = None


class StepRows(msgspec.Struct, frozen=True):
    """A page of steps.

    `next` is the cursor of those that come after them; None: these are all. A page may have fewer steps than were asked
    for, even none, and a cursor all the same: finding more took too long. `last` is the number of the last record of
    the run, and `total` how many records it has, whatever was asked for.
    """

    steps: list[StepRow]
    next: str | None
    last: int
    total: int


class StepFilter(msgspec.Struct, frozen=True):
    """Which steps are meant.

    Attributes:
        step: the calls of this one.
        show: what they came to; "retried" are those that were tried more than once, "waited" those that waited before
            an attempt, "cut" those that were broken off by the death of a process, and executed again.
        map: the items of the map of this number.
        since: those whose last attempt began then or later, in milliseconds from the start of the run.
        until: those whose last attempt began before then.
        longer: those whose last attempt took so many milliseconds or more.
        text: those with this in their name, label, inputs or error, as they are shown: its case counts.
    """

    step: str | None = None
    show: Show = "all"
    map: int | None = None
    since: float | None = None
    until: float | None = None
    longer: int | None = None
    text: str | None = None


EVERY = StepFilter()

_CURSOR = re.compile(r"(?:([0-9]{1,18})-)?([0-9]{1,18})", re.ASCII)


def step_rows(
    store: Store,
    run: RunRecord,
    wanted: StepFilter = EVERY,
    *,
    order: Order = "first",
    cursor: str | None = None,
    limit: int = PAGE,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> StepRows:
    """A page of the steps of a run. What it costs does not depend on how many steps there are, except with "slowest".

    Args:
        store: the state file.
        run: which.
        wanted: which of its steps.
        order: "first" or "last" for the order in which they came to an end, forwards or backwards; or "slowest" first.
        cursor: `next` of the page before, in the same order; None for the first page. With "first" it may be any
            number: the records behind it are meant.
        limit: how many at most, 1 to 200.
        seconds: what it may take, at the most.
        clock: of those seconds.

    Raises:
        OptionError: it is no cursor.
        StateError: the file cannot be read.
    """
    budget = Budget(limit, seconds, clock)
    stored = Wanted(
        name=wanted.step,
        status=wanted.show if wanted.show in ("dead", "failed") else None,
        again=wanted.show == "retried",
        waited=wanted.show == "waited",
        cut=wanted.show == "cut",
        batch=wanted.map,
        since=None if wanted.since is None else run.created + wanted.since / 1000,
        until=None if wanted.until is None else run.created + wanted.until / 1000,
        slow=wanted.longer,
        text=_text(wanted.text) if wanted.text else None,
    )
    at: tuple[int, int] | None = _place(cursor) or step_pages.beginning(store, run.rid, order)
    records: list[StepRecord | DamagedStep] = []
    while at is not None and len(records) < budget.limit:
        found, at = step_pages.listed(store, run.rid, stored, order, at, budget.limit - len(records))
        records += found
        if budget.is_spent:
            break
    last = step_pages.last_number(store, run.rid)
    total = counted(store, run, "total", lambda: timeline.total(store, run.rid)[1])
    if at is not None and order == "first" and at[1] >= last:
        at = None
    following = None if at is None else f"{at[0]}-{at[1]}" if order == "slowest" else str(at[1])
    return StepRows(Rows(store, run).of(records), following, last, total)


def every_step(store: Store, run: RunRecord, most: int, wanted: Wanted = Wanted()) -> list[StepRow]:  # noqa: B008
    """The steps of a run, or those that are meant, up to `most` of them, in the order in which they were saved; but for
    those of which it is not known when they were executed.

    Raises:
        StateError: the file cannot be read.
    """
    records: list[StepRecord] = []
    at: tuple[int, int] | None = step_pages.beginning(store, run.rid, "first")
    while at is not None and len(records) < most:
        found, at = step_pages.listed(store, run.rid, wanted, "first", at, PAGE)
        records += [one for one in found if isinstance(one, StepRecord)]
    return Rows(store, run).of(records[:most])


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise OptionError(f"the cursor is {cursor[:80]!r}", "give the cursor of the page before, or none")
    return int(match[1] or 0), int(match[2])


def _text(wanted: str) -> Text:
    text = ShownText(wanted)

    def meets(record: StepRecord) -> bool:
        name, given = called(record.kind, record.name, record.input)
        if text.text in name or (record.label is not None and text.in_text(record.label)):
            return True
        if not is_apart(given) and text.in_inputs(given):
            return True
        return record.status not in FINE and not is_apart(record.output) and text.in_error(record.output)

    part = part_of(wanted)
    return Text(meets, partial(may_show, part), part, word_of(wanted), TRANSLATED)


FINE = ("done", "abandoned")
"""What a record is that has no error."""


def _is_in_part(record: StepRecord) -> bool:
    """Is it an undoing that was broken off and has failed, and whose call was made again?"""
    return record.kind == "undone" and record.status == "abandoned"


class Rows:
    """Makes rows of the records of a run; what is secret is asked for once."""

    def __init__(self, store: Store, run: RunRecord) -> None:
        self._store = store
        self._run = run
        self._hide = secrets.redactor()
        self._places: Mapping[int, float] = {}  # of calls that no attempt was made of

    def of(self, records: Sequence[StepRecord | DamagedStep]) -> list[StepRow]:
        """Records as rows."""
        intact = [one for one in records if isinstance(one, StepRecord)]

        def each() -> list[StepRow]:
            return [row for one in intact for row in if_sound(partial(self._of, [one]), list[StepRow])]

        rows = {row.seq: row for row in if_sound(partial(self._of, intact), each)}
        return [rows.get(one.seq) or self._damaged(one) for one in records]

    def _damaged(self, one: StepRecord | DamagedStep) -> StepRow:
        at = self._at(one.started) if isinstance(one, StepRecord) else 0.0
        return StepRow(one.seq, one.name, "", "damaged", 1, at, at, one.ms, [], LOOK)

    def _of(self, records: Sequence[StepRecord]) -> list[StepRow]:
        rid = self._run.rid
        tries = step_pages.tries_of(
            self._store, rid, [(one.name, one.key, one.n) for one in records if one.attempts > 1]
        )
        dead = [one.seq for one in records if one.status == "dead" or _is_in_part(one) or one.n >= SET_ASIDE]
        letters = step_pages.letters_of(self._store, rid, dead)
        never = [one.seq for one in records if not one.started]
        self._places = step_pages.ends_before(self._store, rid, never) if never else {}
        return [self._row(one, tries.get((one.name, one.key, one.n), []), letters.get(one.seq)) for one in records]

    def _row(self, record: StepRecord, tries: Sequence[AttemptRecord], letter: LetterRecord | None) -> StepRow:
        name, given = called(record.kind, record.name, record.input)
        failures = [self.failed(one) for one in tries if one.started < record.started]
        last_at = self._at(record.started or self._places.get(record.seq, self._run.created))
        at = failures[0].at if failures else last_at
        made = None if record.asked is None else round(max(last_at - record.asked, 0.0), 1)
        return StepRow(
            seq=record.seq,
            name=name,
            inputs=self.inputs(given),
            status=record.status,
            attempts=record.attempts,
            at=at,
            last_at=last_at,
            ms=record.ms,
            failures=failures,
            error=self._error(record.output) if record.status not in FINE else None,
            letter=None if letter is None else letter.lid,
            map=record.batch,
            label=None if record.label is None else self._hide(record.label),
            made=made if made is not None and made < at - 1 else None,
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
