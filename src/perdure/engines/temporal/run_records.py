"""The records of a run, while its function executes: Temporal's history has them for good."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence

import msgspec

from perdure.core.exceptions import capture
from perdure.core.exceptions.attempt_notes import AttemptNote
from perdure.core.execution.cleanup_records import undo_note
from perdure.core.execution.known_records import IndexRow
from perdure.core.execution.spec import Call
from perdure.core.records import (
    INPUT,
    KEY,
    KIND,
    NAME,
    OUTPUT,
    SEQ,
    STATUS,
    UNDO_NOTE,
    AttemptRecord,
    N,
    Row,
    StepRecord,
    StepStatus,
)
from perdure.engines.temporal.payloads import FIRED, Carried, Identity, RaceNote

NOTHING = b"\xc0"
UNSEALED = 0
"""In place of a checksum: the history is the cluster's, and a snapshot seals what it writes down."""
OVERHEAD = 100
"""Bytes of a record beside its inputs and its result, about."""


class RunRecords:
    """Records by their number; and what the failed attempts of their calls said. `size` is about how many bytes.

    `last_failure` is the step that has failed for good last, the number of its attempt, and its packed error.
    """

    def __init__(self) -> None:
        self.records: dict[int, StepRecord] = {}
        self.exempt: list[tuple[int, int]] = []
        self.size = 0
        self.last_failure: tuple[str, int, bytes] = ("", 0, b"")
        self._tried: dict[Identity, list[AttemptNote]] = {}
        self._races: list[RaceNote] = []
        self._ends: list[int] = []  # the numbers of the records that calls have come to, in order

    def take_over(self, carried: Iterable[Carried], exempt: Iterable[Identity]) -> None:
        """Begin with the records of an earlier execution; those in `exempt` are not held against the script."""
        spared = set(exempt)
        for one in carried:
            seq = len(self.records) + 1
            if one.kind == "timers":
                place = self._ends[-1] if self._ends else 0
                fired = [(number, place + beside) for number, beside in FIRED.decode(one.input)]
                one = msgspec.structs.replace(one, input=msgspec.msgpack.encode(fired))
            elif one.status != "abandoned":
                self._ends.append(seq)
            rest = (one.started, int(one.seconds * 1000), one.attempts, UNSEALED, one.kind)
            self.records[seq] = StepRecord(seq, one.name, one.key, one.n, one.status, one.input, one.output, *rest)
            self.size += len(one.input) + len(one.output) + OVERHEAD
            identity = (one.name, one.key, one.n)
            if one.tried:
                self._tried[identity] = one.tried
            if identity in spared and one.kind != "timers":
                self.exempt.append((seq, seq))
            if one.undo is not None:
                self._note_undo(one, seq, one.undo)

    def _note_undo(self, one: Carried, done: int, undo: tuple[str, str]) -> None:
        """What stands beside the record of a call that can be undone."""
        seq, given = done + 1, undo_note(undo, done, one.name)
        row = (seq, UNDO_NOTE, one.key, one.n, "done", given, NOTHING, 0.0, 0, 0, UNSEALED, "undo")
        self.records[seq] = StepRecord(*row)  # type: ignore[arg-type]

    def add(self, rows: Iterable[Row]) -> None:
        """New records."""
        for row in rows:
            self.size += len(row[INPUT]) + len(row[OUTPUT]) + OVERHEAD
            self.records[row[SEQ]] = StepRecord(*row[SEQ:])
            if row[KIND] == "timers":
                for number, place in FIRED.decode(row[INPUT]):
                    self._races.append(RaceNote(self._end_before(place), timer=number, beside=place % 1 > 0))
            elif row[STATUS] == "abandoned":
                given_up = (row[NAME], row[KEY], row[N])
                note = RaceNote(self._end_before(row[SEQ]), given_up=given_up, kind=row[KIND])
                self._races.append(note)
            elif row[KIND] != "undo":
                insort(self._ends, row[SEQ])

    def drop(self, seqs: Iterable[int], aftermath: tuple[int, int] | None) -> None:
        """Take records back, and hold others no longer against the script."""
        for seq in seqs:
            self.records.pop(seq, None)
            if seq in self._ends:
                self._ends.remove(seq)
        if aftermath is not None:
            first, last = aftermath
            self.exempt = [one for one in self.exempt if one[0] < first or one[1] > last]
            self.exempt.append(aftermath)

    def _end_before(self, place: float) -> Identity | None:
        at = bisect_right(self._ends, place)
        return self.identity(self._ends[at - 1]) if at else None

    def races(self, most: int | None = None) -> list[RaceNote]:
        """What the workflow has seen besides the ends of its calls, and was not asked for; the first `most` of it."""
        most = len(self._races) if most is None else most
        races, self._races = self._races[:most], self._races[most:]
        return races

    def identity(self, seq: int) -> Identity:
        """What the call with the record of that number goes by."""
        record = self.records[seq]
        return (record.name, record.key, record.n)

    def remember(self, call: Call, tried: list[AttemptNote]) -> None:
        """What the failed attempts of a call said."""
        self._tried[call.spec.name, call.key, call.n] = tried

    def index(self) -> list[IndexRow]:
        """Number, name, key, occurrence, status and kind of every record, in the order of their numbers."""
        return [(seq, one.name, one.key, one.n, one.status, one.kind) for seq, one in sorted(self.records.items())]

    def count(self, status: StepStatus | None = None) -> int:
        """How many calls have come to an end; or only to one of that kind."""
        ended = [one for one in self.records.values() if one.kind not in ("undo", "timers")]
        return sum(status is None or one.status == status for one in ended)

    def failures(self) -> list[Identity]:
        """The failures that are history."""
        return [(one.name, one.key, one.n) for one in self.records.values() if one.status == "failed"]

    def spared(self) -> list[Identity]:
        """The records that are not held against the script."""
        return [
            (one.name, one.key, one.n)
            for seq, one in self.records.items()
            if any(first <= seq <= last for first, last in self.exempt)
        ]

    # -- as batches read them -----------------------------------------------------------------------------------------

    def record(self, seq: int) -> StepRecord:
        """The record of that number."""
        return self.records[seq]

    def attempts(self, record: StepRecord) -> Sequence[AttemptRecord]:
        """The failed attempts of that record's call."""
        tried = self._tried.get((record.name, record.key, record.n), [])
        return attempt_records(record, tried)

    def letter(self, seq: int) -> None:
        """On a cluster dead letters have no numbers of their own."""


def attempt_records(record: StepRecord | Carried, tried: Sequence[AttemptNote]) -> list[AttemptRecord]:
    """What failed attempts said, as records; of those that an earlier version has noted, the times are not known."""
    made = []
    for number, note in enumerate(tried, start=1):
        fault = capture.Fault(module="", qualname=note.error, bases=[], message=note.message)
        packed = capture.encode(fault)
        who = (record.name, record.key, record.n)
        times = (record.started, 0) if note.seconds is None else (note.started, int(note.seconds * 1000))
        made.append(AttemptRecord(0, *who, number, True, record.input, packed, *times, UNSEALED, note.verdict))
    return made
