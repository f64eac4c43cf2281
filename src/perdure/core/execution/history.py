"""What a run has done so far, as the core sees it: its records and attempts, its failures, and what is to be undone.

Which record a call claims: see `record_matching`; which are there: `known_records`.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from perdure.core import records
from perdure.core.checksums import marked, step_checksum, with_spent
from perdure.core.exceptions import capture
from perdure.core.execution.call_extras import NOTHING
from perdure.core.execution.crash_loop import Crashes, CrashLine, Lives
from perdure.core.execution.known_records import IndexPage, IndexRow, page_of
from perdure.core.execution.record_matching import Claims
from perdure.core.execution.spec import Call
from perdure.core.records import (
    ENDING_NOTE,
    TIMERS_NOTE,
    UNDO_NOTE,
    Row,
    StepKind,
    StepStatus,
    ending_note,
    note_row,
)
from perdure.errors import TooLarge

if TYPE_CHECKING:
    from perdure.core.execution.failures import Failure, Failures
    from perdure.core.execution.root_cause import RootCause

_NONE = b"\xc0"


class Tries(msgspec.Struct, frozen=True, gc=False):
    """Attempts of a call that an earlier process made: how many, and how many of them used up the policy's."""

    made: int = 0
    counted: int = 0


_NO_TRIES = Tries()

Exit = tuple[Call, BaseException, float, float, int]
"""A call that was left by an exit, and by which; when its last attempt began, how long it took, and its number."""


class History(Claims):
    """The records of one run, and what has been claimed of them.

    Args:
        rid: the run's number in the state file.
        id: the run's id.
        index: number, name, key, occurrence, status and kind of each record, in the order of their numbers.
        attempts: name, key, occurrence, number, counted and start of each attempt that still counts.
        exempt: first and last number of each stretch of records that is not held against the script.
        epoch: how often the run has failed.
        uniform: a source of random numbers in [0, 1).
        before: records up to this number were there when the run was resumed; None if all of them were.
        crashes: at how many crashes in a row each call was in flight.
        crash_limit: after so many it is not tried again.
        largest: how many bytes a record may have.
        lives: in the middle of which calls how many lives of the run have ended.
        pages: more of the index, by columns.
        last: the number of the last record, if they are read when they are needed (`read_when_needed`).
    """

    def __init__(
        self,
        rid: int,
        id: str,
        index: Iterable[IndexRow] = (),
        attempts: Iterable[tuple[str, bytes, int, int, int, float]] = (),
        exempt: Sequence[tuple[int, int]] = (),
        epoch: int = 0,
        uniform: Callable[[], float] = lambda: 0.0,
        before: int | None = None,
        crashes: Crashes | None = None,
        crash_limit: int = sys.maxsize,
        largest: int = sys.maxsize,
        lives: Lives | None = None,
        pages: Iterable[IndexPage] = (),
        last: int = 0,
    ) -> None:
        super().__init__(id, exempt, before)
        self.rid = rid
        self.epoch = epoch
        self.uniform = uniform
        self.crashes = crashes or {}
        self.crash_limit = crash_limit
        self.largest = largest
        # The run that users go on with or fork, and which call of it has led to this one, if it is a child run.
        self.top: Callable[[], tuple[str, str]] = lambda: (id, "")
        self.deaths: tuple[CrashLine, ...] = ()  # of its process, since its last new record
        self.resumed = False  # an earlier process, or an earlier call, has begun the run
        self.lives = lives or {}
        self.has_children = False  # a workflow was called, or may have been
        self.undoes_children = False  # the engine can undo child runs that are done
        self.notes_endings = False  # the process that executes the run can die in the middle of its clean-ups
        self.branched = True  # calls may have been made on several branches of the workflow
        self.ending: int | None = None  # the number of the note that undoing has begun
        self._failures: Failures | None = None
        self._to_clean: dict[int, str] = {}
        self._cleaned: dict[tuple[str, str, bytes, int], str] = {}
        self._timer_notes: list[int] = []
        self.unsaved: list[Row] = []
        # Where several threads decide: which one does now. What it has to write down first is its own.
        self.whose: Callable[[], int] | None = None
        self._owners: dict[object, int] = {}  # of rows, by their numbers, and of timers
        self.tried_calls: Callable[[str], set[tuple[bytes, int]]] | None = None  # of a step, by earlier lives
        self._tried: dict[str, set[tuple[bytes, int]]] = {}
        # A call that counts has failed after its attempt had ended well, and will have no record to count by.
        self.failed_after_all: Callable[[Call, float], None] | None = None
        self.fired: list[tuple[int, float] | tuple[int, float, bytes]] = []
        self.fired_before: dict[bytes, list[tuple[int, float]]] | None = None  # in earlier lives, by loop, once read
        self.undone: Counter[bytes] = Counter()
        self.known_tries: dict[tuple[str, bytes, int], Tries] = {}  # of earlier processes, that no call has claimed
        self.last = last
        for page in itertools.chain(page_of(index), pages):
            self._offer_page(page)
            self.last = page[0][-1]
        self._first = int(self.last) + 1  # the number of the first record of this life
        self._numbers = itertools.count(self._first)
        for name, key, n, number, counted, _ in attempts:
            tries = self.known_tries.get((name, key, n), _NO_TRIES)
            self.known_tries[name, key, n] = Tries(max(tries.made, number), tries.counted + counted)

    def _remember(self, seq: int, name: str, key: bytes, n: int, status: str, kind: str) -> None:
        """Notes and clean-ups are never held against the script; of them, calls only claim the `defer` notes."""
        if kind == "undo":
            self._to_clean[seq] = kind
            return
        if kind in ("deferred", "undone"):
            if status != "failed":  # else the run has gone on since, and the next end decides anew
                self._cleaned[kind, name, key, n] = status
            self.undone[key] += kind == "undone" and status in ("done", "abandoned")
            return
        if kind == "timers":
            if name == ENDING_NOTE:
                self.ending = seq
            else:
                self._timer_notes.append(seq)
            return
        if kind == "defer":
            self._to_clean[seq] = kind
        self._offer(seq, name, key, n, status, kind)

    @property
    def unread(self) -> bool:
        """Are there records, of which nothing is known, and nothing that they can be read by?"""
        return self._first > 1 and not self.recorded and not self.reads_on

    @property
    def has_new(self) -> bool:
        """Has this life made records?"""
        return self.last >= self._first

    # -- attempts -----------------------------------------------------------------------------------------------------

    def tries(self, call: Call) -> Tries:
        """The attempts of this call that earlier processes made."""
        if not self.known_tries:
            return _NO_TRIES
        return self.known_tries.pop((call.spec.name, call.key, call.n), _NO_TRIES)

    def tried(self, call: Call) -> bool:
        """Did an earlier life make an attempt of this call, also one that counts no more?"""
        if self.tried_calls is None:
            return False
        name = call.spec.name
        if name not in self._tried:
            self._tried[name] = self.tried_calls(name)
        return (call.key, call.n) in self._tried[name]

    # -- new records --------------------------------------------------------------------------------------------------

    def row(self, call: Call, status: StepStatus, output: bytes, started: float, seconds: float, attempts: int) -> Row:
        """A new record, numbered."""
        seq = self.last = call.seq = next(self._numbers)  # atomic: pool threads number their records too
        spec = call.spec
        name, kind = spec.name, spec.record_kind
        if kind == "defer":
            self._to_clean[seq] = kind
        rid, key, n, given, ms = self.rid, call.key, call.n, call.input, int(seconds * 1000)
        if spec.input_kept != "whole" and status == "done":
            from perdure.core.execution.kept_input import kept_input

            given = kept_input(call)
        crc = step_checksum(rid, seq, name, key, n, status, given, output, started, ms, attempts, kind)
        more = NOTHING if call.extras is None else call.extras.columns()
        spent = call.spent
        if more is NOTHING or more == NOTHING:
            if spent is None:
                return (rid, seq, name, key, n, status, given, output, started, ms, attempts, crc, kind)
            crc = with_spent(crc, spent)
            return (
                rid, seq, name, key, n, status, given, output, started, ms, attempts, crc, kind,
                None, None, None, None, None, None, spent,
            )  # fmt: skip
        crc = marked(crc, None, None, *more, spent)
        whole = (rid, seq, name, key, n, status, given, output, started, ms, attempts, crc, kind, None, None)
        return (*whole, *more, spent)

    def number_again(self, call: Call, row: Row) -> Row:
        """The record of a call under the next number, if others have got one since: its end is seen after theirs.

        Its checksum is that of the former number, for an engine that does not look at it.
        """
        if self.last == row[records.SEQ]:
            return row
        seq = self.last = call.seq = next(self._numbers)
        return (row[records.RUN], seq, *row[records.NAME :])

    def refuse_oversized(self, owner: str, given: bytes, output: bytes | None = None) -> None:
        """Make sure that a record of these inputs (and this result) can be written.

        Raises:
            TooLarge: it is larger than a record may be.
        """
        size = len(given) + len(output or b"")
        if size <= self.largest:
            return
        from perdure.core.sizes import show_size

        limit = show_size(self.largest)
        if output is None or len(output) < len(given):
            raise TooLarge(
                f"{owner} is called with {show_size(len(given))} of arguments; a record holds at most {limit}",
                "keep large data in a file, and pass its path",
            )
        raise TooLarge(
            f"{owner} returned {show_size(len(output))}; a record holds at most {limit}",
            "write large data to a file in the step and return its path, or return it in parts, by a step for each",
        )

    # -- races --------------------------------------------------------------------------------------------------------

    def give_up(self, call: Call) -> bool:
        """The workflow goes on without this call, which has not ended; False if it has, and was not seen.

        It becomes history with the next commit of the run, as do the timers that have fired, and before another call
        begins at the latest: what is done or becomes durable later may be due to it.
        """
        if call.seq:
            return self.is_abandoned(call.seq)
        self.unsaved.append(self.row(call, "abandoned", _NONE, 0.0, 0.0, 0))
        if self.whose is not None:
            self._owners[call.seq] = self.whose()
        return True

    def left_by_exit(self, call: Call, error: BaseException, started: float, seconds: float, attempts: int) -> None:
        """The call was left by an exit (core/exceptions/exits.py), which the workflow may handle.

        It becomes history with the next commit of the run, and none if the run is left by it.
        """
        fault, _ = capture.to_record(cast(Exception, error), "")
        row = self.row(call, "failed", fault, started, seconds, attempts)
        self.unsaved.append(row)
        self.failed(error, row[records.SEQ])

    def exits(self, but: Sequence[int]) -> tuple[Row, ...]:
        """The records of calls that were left by an exit and that are not saved yet, without those of these numbers."""
        found = (row for row in self.unsaved if row[records.STATUS] == "failed" and row[records.SEQ] not in but)
        return tuple(found)

    def timer_fired(self, number: int, loop: bytes = b"") -> None:
        """The timer of that number, counted by the order in which the workflow made them, has fired.

        Args:
            number: its number in its loop.
            loop: the name of the loop, if it is not the one that executes an async workflow.
        """
        fired = (number, self.last, loop) if loop else (number, self.last)
        self.fired.append(fired)
        if self.whose is not None:
            self._owners[fired] = self.whose()

    def with_notes(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """These rows, and those that have to become durable with them at the latest."""
        if not self.fired and not self.unsaved:
            return rows
        (fired, self.fired), (notes, self.unsaved) = self._own(self.fired, None), self._own(self.unsaved, records.SEQ)
        if fired:
            given = msgspec.msgpack.encode(fired)
            notes.append(self.note("timers", TIMERS_NOTE, bytes(16), 0, "done", given, _NONE))
        return (*notes, *rows)

    def _own(self, notes: list[Any], by: int | None) -> tuple[list[Any], list[Any]]:
        """Those of the thread that decides, and those of others: they would go on before this thread has written them.

        Args:
            notes: which.
            by: the field that they are known by; None: as a whole.
        """
        if not self._owners:
            return notes, []
        me = None if self.whose is None else self.whose()
        own, others = [], []
        for note in notes:
            key = note if by is None else note[by]
            if me is None or self._owners.get(key, me) == me:
                self._owners.pop(key, None)
                own.append(note)
            else:
                others.append(note)
        return own, others

    def timer_notes(self) -> list[int]:
        """The numbers of the notes about timers, in order."""
        return self._timer_notes

    # -- what is to be cleaned up ------------------------------------------------------------------------------------

    def can_be_undone(self, row: Row, given: bytes) -> Row:
        """The record that says so of the call with the record `row`."""
        note = self.note("undo", UNDO_NOTE, row[records.KEY], row[records.N], "done", given, _NONE)
        self._to_clean[note[records.SEQ]] = "undo"
        return note

    def note(
        self, kind: StepKind, name: str, key: bytes, n: int, status: StepStatus, given: bytes, output: bytes
    ) -> Row:
        """A record of something that no call has made."""
        seq = self.last = next(self._numbers)
        return note_row(self.rid, seq, kind, name, key, n, status, given, output)

    def to_clean(self) -> list[tuple[int, str]]:
        """Number and kind (`defer` or `undo`) of the notes of what is to be cleaned up, the last one first."""
        return sorted(self._to_clean.items(), reverse=True)

    def ends(self, how: bytes) -> Row:
        """The record that undoing has begun, and `how` the run is to end."""
        self.last = self.ending = next(self._numbers)
        return ending_note(self.rid, self.ending, how)

    def is_cleaned(self, kind: StepKind, name: str, key: bytes, n: int) -> bool:
        """Was that clean-up made before the process died, or has it failed for good?"""
        return (kind, name, key, n) in self._cleaned

    def is_given_up(self, kind: StepKind, name: str, key: bytes, n: int) -> bool:
        """Has that clean-up failed for good before?"""
        return self._cleaned.get((kind, name, key, n)) == "dead"

    def to_undo(self) -> int:
        """How many calls are to be undone."""
        given_up = sum(kind == "undone" and status == "dead" for (kind, *_), status in self._cleaned.items())
        return sum(kind == "undo" for kind in self._to_clean.values()) - given_up

    # -- failures -----------------------------------------------------------------------------------------------------

    def failed(self, error: BaseException, seq: int, *, replayed: bool = False, verdict: bytes | None = None) -> None:
        """A step has failed for good, with that record; or the record of an earlier life says so."""
        from perdure.core.execution.failures import Failure, Failures  # of no run that goes well

        if self._failures is None:
            self._failures = Failures()
        self._failures.add(error, Failure(seq, replayed, verdict))

    def has_failed_by(self, error: BaseException) -> bool:
        """Is that what a step has failed with?"""
        return bool(self._failures_of(error))

    def _failures_of(self, error: BaseException) -> Sequence[Failure]:
        return () if self._failures is None else self._failures.of(error)

    @property
    def handled(self) -> list[int]:
        """The numbers of the failures that the workflow has seen."""
        return [] if self._failures is None else self._failures.numbers

    def root_cause(
        self,
        error: BaseException,
        of_steps: Sequence[BaseException] = (),
        is_interrupt: Callable[[BaseException], bool] = lambda error: isinstance(error, KeyboardInterrupt),
    ) -> RootCause:
        """Which failures end the run, given that `error` does: it is one of theirs, or was raised from one.

        Args:
            error: what has left the function.
            of_steps: what steps without an outcome were left by.
            is_interrupt: does it come from outside, whatever the program does then?
        """
        from perdure.core.execution.root_cause import root_cause

        own = {} if self.own_errors is None else self.own_errors.first
        return root_cause(error, self._failures_of, of_steps, own, self._is_past, next(self._numbers) - 1, is_interrupt)

    def _is_past(self, failure: Failure, error: BaseException) -> bool:
        """Had an earlier life gone on behind that failure, further than this one, in whose handler `error` arose?

        Where several branches call, nobody knows whose calls those are: there it counts if what stands in for an object
        of the failure's exception could not do what the object did.
        """
        from perdure.core.exceptions.recorded_objects import NotRecorded  # of no run that goes well

        alone = not self.branched or isinstance(error, NotRecorded)
        return failure.replayed and alone and self.goes_on_behind(failure.seq)
