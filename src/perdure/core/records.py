"""What is written down: the rows of the journal, and their checksums."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final, Literal, Self, get_args

import msgspec

from perdure.core.checksums import attempt_checksum, marked, row_checksum, step_checksum

StepKind = Literal["step", "builtin", "defer", "undo", "deferred", "undone", "timers"]
"""What a record is about, whatever its name says.

`step`: a call of a step or of a child workflow. `builtin`: a call of a step of perdure's own, such as `perdure.now`.
`defer` and `undo` are notes: a call to be made when the run ends, and a call that can be taken back. `deferred` and
`undone` are the clean-ups that were made of them, under the names `defer:STEP` and `undo:STEP`. `timers` is a
note too: which timers of an async workflow fired, and after which records.
"""
StepStatus = Literal["done", "failed", "dead", "abandoned"]
"""How a call has ended. `abandoned`: the workflow gave it up (a timeout, a race that another call won)."""
RunStatus = Literal["queued", "running", "suspended", "failed", "parked", "done", "cancelled"]
"""How a run stands. `queued`: it has not begun. `suspended`: it waits for a time or a signal, and needs no process."""

STEP_KINDS: Final = frozenset(get_args(StepKind))
STEP_STATUSES: Final = frozenset(get_args(StepStatus))
_RUN_STATUSES = frozenset(get_args(RunStatus))
_WITH_OUTPUT = ("done", "failed", "parked")
_LATEST = 253_402_300_800.0
"""Seconds since the epoch: the year 10000, which no date can show."""


def is_time(value: float | None) -> bool:
    """Is that a time that perdure writes, in seconds since the epoch? None is none."""
    return value is None or -_LATEST < value < _LATEST


def are_times(*values: float | None) -> bool:
    """Are all of these?"""
    for value in values:  # noqa: SIM110  each run that is read passes here
        if value is not None and not -_LATEST < value < _LATEST:
            return False
    return True


CLEAN_UPS: Final = ("deferred", "undone")
"""The kinds of clean-ups: no call of the workflow's own claims their records."""

RESERVED: Final = "perdure."

CALLED: Final = f"{RESERVED}call:"
ENDED: Final = f"{RESERVED}result:"
ENQUEUED: Final = f"{RESERVED}enqueue:"
"""How the names begin, before that of a workflow, of the records that say that it was called under an id, what came of
that, and that it was put into a queue."""

PROGRESS: Final = "perdure.progress"
"""Under this name a run publishes how far it is: what is done, how much there is in all, and a note."""
WAITS: Final = (
    *("perdure.sleep", "perdure.wait", "perdure.approval", "perdure.result"),
    *("perdure.signal_url", "perdure.publish", "perdure.aio.publish"),
)
"""How the names of the records begin of waits, and of what only shows something: they are no drift."""
NOTED: Final = "perdure.noted"
"""The name of the attempt rows that say of which calls nothing was saved; the key tells them apart."""
BETWEEN: Final = "perdure.between"
"""The name of the crash rows of a run that was in no step when its process died."""
SET_ASIDE: Final = 1 << 32
"""How much is added to the occurrence of a call whose record was taken back, and which a dead letter is about."""
NO_KEY: Final = bytes(16)
"""How the names of perdure's own steps begin; no name of a user's does."""
DEFER_NOTE: Final = "perdure.defer"
DEFER_EVERY_NOTE: Final = "perdure.defer_every_end"
UNDO_NOTE: Final = "perdure.undo"
TIMERS_NOTE: Final = "perdure.timers"
ENDING_NOTE: Final = "perdure.ending"

OWN_MODULE: Final = "__main__"
"""How a run records the module of its own workflow, which may be renamed."""


class Place(msgspec.Struct, frozen=True):
    """Whose function it is: its module, by the name that `import` gives it, and its qualified name there."""

    module: str
    qualname: str


class FunctionRecord(msgspec.Struct, frozen=True):
    """The function that a run calls under a name. `file` is relative to the folder of the run's script, or absolute.

    `code` is the digest of what is known of it besides (`store/code.py`); None in rows of before, and of notes.
    `defaults` are those that its calls are compared by, packed (core/execution/defaults.py); None: none are known.
    """

    kind: StepKind
    name: str
    module: str
    qualname: str
    file: str
    crc: int = 0
    code: bytes | None = None
    defaults: bytes | None = None

    def checksum(self, run: int) -> int:
        """What `crc` is, as a row of that run."""
        file = self.file.encode("utf-8", "surrogateescape")
        more: tuple[bytes, ...] = () if self.code is None else (self.code,)
        if self.defaults is not None:
            more = (self.code or b"", self.defaults)
        return row_checksum(run, self.kind, self.name, self.module, self.qualname, file, *more)

    def sealed(self, run: int) -> Self:
        """The record, under a checksum of what it says now."""
        return msgspec.structs.replace(self, crc=self.checksum(run))

    def intact(self, run: int) -> bool:
        """Is it as it was written, as a row of that run?"""
        return self.crc == self.checksum(run)


_PREFIXES = {"deferred": "defer:", "undone": "undo:"}

Row = tuple[Any, ...]
"""A row of the step table, in the order of its columns. Their numbers follow: a NamedTuple costs 0.6 us more a step.

It ends with the kind, unless there is more to be said of the call (see StepRecord): then it has all columns.
"""

RUN: Final = 0
SEQ: Final = 1
NAME: Final = 2
KEY: Final = 3
N: Final = 4
STATUS: Final = 5
INPUT: Final = 6
OUTPUT: Final = 7
STARTED: Final = 8
MS: Final = 9
ATTEMPTS: Final = 10
CRC: Final = 11
KIND: Final = 12
MARKS: Final = 13
SPENT: Final = 19
WIDTH: Final = 20
"""Columns of a row that has all of them."""


class StepRecord(msgspec.Struct, frozen=True, gc=False):
    """A call that the workflow has moved past.

    `key` is 16 bytes; `n` counts how often name + key came before in this run; `output` is the packed result, or
    the packed fault if the status is not "done". `started` is in seconds since the epoch, `ms` in milliseconds.

    The marks are None in nearly every record: `lives` in how many lives of the run the call was executed, if that was
    more than one; `keyed` whether it asked for its idempotency key (1 or 0), if it was executed more than once.

    So is the rest: `batch` is the number of the map that it was an item of, `asked` how many milliseconds after the
    call was made its last attempt began, `waits` what it waited for meanwhile (JSON: reason to milliseconds), `label`
    the map's key as text, and `spent` what it has spent, if that is all in its record (`core/execution/spending.py`).
    """

    seq: int
    name: str
    key: bytes
    n: int
    status: StepStatus
    input: bytes
    output: bytes
    started: float
    ms: int
    attempts: int
    crc: int
    kind: StepKind
    lives: int | None = None
    keyed: int | None = None
    batch: int | None = None
    asked: int | None = None
    waits: str | None = None
    label: str | None = None
    spent: str | None = None

    def checksum(self, run: int) -> int:
        """What `crc` is, as a row of that run."""
        crc = step_checksum(
            run,
            self.seq,
            self.name,
            self.key,
            self.n,
            self.status,
            self.input,
            self.output,
            self.started,
            self.ms,
            self.attempts,
            self.kind,
        )
        return marked(crc, self.lives, self.keyed, self.batch, self.asked, self.waits, self.label, self.spent)

    def sealed(self, run: int) -> Self:
        """The record, under a checksum of what it says now."""
        return msgspec.structs.replace(self, crc=self.checksum(run))

    def intact(self, run: int) -> bool:
        """Is it as it was written, as a row of that run?"""
        return (
            self.crc == self.checksum(run)
            and self.status in STEP_STATUSES
            and self.kind in STEP_KINDS
            and is_time(self.started)
        )


class AttemptRecord(msgspec.Struct, frozen=True, gc=False):
    """One try that failed. `epoch` is how often the run had failed before; `error` is the packed fault.

    `verdict` is what was known of the failure when it happened, packed (`core/policies/verdicts.py`); rows of earlier
    versions have none. `delay` is how many seconds were to be waited until the next attempt, `delayed_by` who has named
    them ("policy" or "server"); None for the last attempt of a call that was given up.
    """

    epoch: int
    name: str
    key: bytes
    n: int
    number: int
    counted: bool
    input: bytes
    error: bytes
    started: float
    ms: int
    crc: int
    verdict: bytes | None = None
    delay: float | None = None
    delayed_by: str | None = None

    def checksum(self, run: int) -> int:
        """What `crc` is, as a row of that run."""
        about = (self.epoch, self.name, self.key, self.n, self.number, self.counted)
        after = (self.verdict, self.delay, self.delayed_by)
        return attempt_checksum(run, *about, self.input, self.error, self.started, self.ms, *after)

    def sealed(self, run: int) -> Self:
        """The record, under a checksum of what it says now."""
        return msgspec.structs.replace(self, crc=self.checksum(run))

    def intact(self, run: int) -> bool:
        """Is it as it was written, as a row of that run?"""
        return self.crc == self.checksum(run) and self.number > 0 and is_time(self.started)


class RunRecord(msgspec.Struct, frozen=True, gc=False):
    """A run. `path` is where its script was last seen; `parent` and `holder` are row numbers.

    `stop` is when its end was asked for, in seconds since the epoch. `forked_from` is the run that it was forked from,
    with the records below the number `forked_at`; those from there up to `forked_last` are of what that run did behind
    this point. `superseded_by` is the newest fork of it. `stopped` is why it was last left, packed
    (`core/policies/verdicts.py`): what has failed it, or what broke it off. Its timeout counts from `timed_from`.

    `wake` is when a queued or suspended run may go on, if that is given by time. A run that stands in a queue has its
    `priority` there (0 comes first), a `queue_key` of which only so many run at a time, and a `dedup` key, under which
    there is one unfinished run; it is served in the order of `priority`, `turn` and number, as soon as it has a turn
    (`store/queue.py`). `hold` is why it is not gone on with until somebody acts.

    `steps` is how many steps it has come past, as far as that was counted: when its process left it.
    """

    rid: int
    id: str
    script: str
    path: str
    workflow: str
    key: bytes
    named: bool
    parent: int | None
    status: RunStatus
    holder: int | None
    epoch: int
    input: bytes
    output: bytes | None
    created: float
    started: float
    ended: float | None
    crc: int
    stop: float | None = None
    forked_from: int | None = None
    forked_at: int | None = None
    forked_last: int | None = None
    superseded_by: int | None = None
    stopped: bytes | None = None
    timed_from: float | None = None
    wake: float | None = None
    queue: str | None = None
    priority: int | None = None
    queue_key: str | None = None
    dedup: str | None = None
    hold: str | None = None
    turn: int | None = None
    steps: int | None = None

    @property
    def superseded(self) -> bool:
        """Does a fork stand on what it has done, so that it is not gone on with any more?"""
        return self.superseded_by is not None and self.status not in ("done", "cancelled")

    @property
    def begun(self) -> float | None:
        """Since when it takes: when it was begun, not when it was put into a queue; None if it has not begun.

        Of one that was queued, and gone on with after it had failed, it is when that was.
        """
        return self.created if self.queue is None else self.timed_from

    def checksum(self) -> int:
        """What `crc` is."""
        return _checksum_of_run(msgspec.structs.astuple(self))

    def row(self) -> Row:
        """The row of the run, under a checksum of what it says now."""
        values = msgspec.structs.astuple(self)
        return (*values[:_RUN_CRC], _checksum_of_run(values), *values[_RUN_CRC + 1 :])

    def sealed(self) -> Self:
        """The record, under a checksum of what it says now."""
        return msgspec.structs.replace(self, crc=self.checksum())

    def intact(self) -> bool:
        """Is it as it was written? A fork is newer than its source, so that no lineage of intact runs is a circle."""
        return (
            self.crc == self.checksum()
            and self.status in _RUN_STATUSES
            and (self.status in _WITH_OUTPUT) == (self.output is not None)
            and self.parent != self.rid
            and (self.forked_from is None or self.forked_from < self.rid)
            and (self.superseded_by is None or self.superseded_by > self.rid)
            and are_times(self.created, self.started, self.ended, self.stop, self.timed_from, self.wake)
        )


_COLUMNS = RunRecord.__struct_fields__
_NAMED, _RUN_CRC, _STOPPED, _TIMED_FROM, _WAKE, _STEPS = map(
    _COLUMNS.index, ("named", "crc", "stopped", "timed_from", "wake", "steps")
)
_MOMENTS = tuple(map(_COLUMNS.index, ("created", "started", "ended", "stop", "timed_from", "wake")))
_moments = itemgetter(*_MOMENTS)
_AS_STORED = {float, type(None)}
_NO_PLACE = [None] * (_STEPS - _WAKE)
"""Of a run that was never queued, and waits for no time."""


def _checksum_of_run(row: Row) -> int:
    values: list[Any] = list(row)
    values[_NAMED] = int(values[_NAMED])
    if not _AS_STORED.issuperset(map(type, _moments(values))):
        for at in _MOMENTS:
            values[at] = None if values[at] is None else float(values[at])
    if values[_STEPS] is None:  # rows of before keep their checksums
        del values[_STEPS:]
        if values[_WAKE:] == _NO_PLACE:
            del values[_WAKE:]
            if values[_TIMED_FROM] is None:
                del values[_TIMED_FROM if values[_STOPPED] is not None else _STOPPED :]
    del values[_RUN_CRC]
    return row_checksum(*values)


def sealed_row(row: Row) -> Row:
    """A row of the step table, under a checksum of what it says now."""
    crc = step_checksum(*row[:CRC], *row[KIND : KIND + 1])
    crc = marked(crc, *(row[MARKS:] or (None, None)))
    return (*row[:CRC], crc, *row[KIND:])


def note_row(
    rid: int, seq: int, kind: StepKind, name: str, key: bytes, n: int, status: StepStatus, given: bytes, output: bytes
) -> Row:
    """A row of the step table about something that no call has made."""
    crc = step_checksum(rid, seq, name, key, n, status, given, output, 0.0, 0, 0, kind)
    return (rid, seq, name, key, n, status, given, output, 0.0, 0, 0, crc, kind)


def ending_note(rid: int, seq: int, how: bytes) -> Row:
    """The note that the undoing of a run has begun, and `how` it is to end then, packed."""
    return note_row(rid, seq, "timers", ENDING_NOTE, NO_KEY, 0, "done", how, b"\xc0")


def clean_up_name(kind: str, step: str) -> str:
    """The name of the records of a step's clean-ups."""
    return _PREFIXES[kind] + step


def called_step(kind: str, name: str) -> str:
    """The name of the step that was called, of a record of that kind and name."""
    return name.removeprefix(_PREFIXES[kind]) if kind in CLEAN_UPS else name


def begun_by(name: str) -> tuple[str, str]:
    """How the call of a record of that name begins what it names: `CALLED` or `ENQUEUED` and the workflow, or "" and
    the step or the child workflow; `RESERVED` of other records of perdure's own."""
    if not name.startswith(RESERVED):
        return "", name
    way = next((one for one in (CALLED, ENQUEUED) if name.startswith(one)), RESERVED)
    return way, name.removeprefix(way)


class Marks(msgspec.Struct, frozen=True, gc=False):
    """What is added to the row with the number `seq`: its call was executed more than once. See StepRecord."""

    seq: int
    lives: int | None = None
    keyed: int | None = None
