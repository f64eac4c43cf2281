"""What a state file says of the records of a run: its steps, attempts, notes and what they have spent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.execution.known_records import IndexRow
from perdure.core.execution.spending import Amounts, Bounds, CallId
from perdure.core.records import (
    SET_ASIDE,
    AttemptRecord,
    FunctionRecord,
    Row,
    StepKind,
    StepRecord,
)
from perdure.errors import StateCorrupt
from perdure.store import pieces, record_index, spending
from perdure.store.group_commit import Journal
from perdure.store.holders import Holder
from perdure.store.rows import all_plain, checked_of_run, checked_steps, corrupt, sound
from perdure.store.statements import Statements

CHUNK = 512
"""Records that are read together."""

PLAIN_AT_ONCE = 1_000
"""Those whose rows are read together, without making records of them."""


class RecordQueries:
    """Questions about the records of runs.

    Args:
        path: the state file, for messages.
        sql: the named statements of `runs.sql`.
        journal: the connection.
        holder: this process.
    """

    def __init__(self, path: Path, sql: Statements, journal: Journal, holder: Holder) -> None:
        self.path = path
        self.journal = journal
        self.holder = holder
        self._sql = sql

    def index(self, rid: int) -> list[IndexRow]:
        """Number, name, key, occurrence, status and kind of all records of a run, in order of completion.

        Raises:
            StateCorrupt: one of them is not as it was written.
        """
        return list(self.each_index(rid))

    def each_index(self, rid: int) -> Iterator[IndexRow]:
        """The same, some thousand rows at a time: a million of them together take half a gigabyte.

        Raises:
            StateCorrupt: one of them is not as it was written.
        """
        for page in record_index.pages(self.journal, rid, self.path):
            yield from zip(*page, strict=True)

    def records(self, rid: int, first: int = 0, most: int = CHUNK) -> list[StepRecord]:
        """Up to `most` records of a run, beginning with number `first`, as they are stored: see `whole`.

        Raises:
            StateCorrupt: a checksum does not match.
        """
        return checked_steps(self._all("steps_from", rid, first, most), self.path)

    def plain_rows(self, rid: int, first: int) -> list[Row] | None:
        """The same as rows, if all are plain and intact: see `rows.all_plain`."""
        rows: list[Row] = self._all("plain_steps_from", rid, first, PLAIN_AT_ONCE)
        return rows if all_plain(rows) else None

    def record(self, rid: int, seq: int) -> StepRecord:
        """The record of that number.

        Raises:
            StateCorrupt: it is gone, or does not match its checksum.
        """
        record: StepRecord = self.journal.read(
            lambda connection: pieces.whole(connection, self.record_in(connection, rid, seq), self.path)
        )
        return record

    def shown(self, record: pieces.R) -> pieces.R:
        """The same for people: in the place of a large payload that cannot be read stands why."""
        if not pieces.needed(record):
            return record
        found: pieces.R = self.journal.read(lambda connection: pieces.whole(connection, record, self.path, shown=True))
        return found

    def whole(self, record: pieces.R, *, inputs: bool = True, remake: str = "") -> pieces.R:
        """A record as it was before its large payloads were set apart; also its inputs, if asked for.

        Raises:
            StateCorrupt: a piece is gone, or is not as it was written.
        """
        if not pieces.needed(record):
            return record
        found: pieces.R = self.journal.read(
            lambda connection: pieces.whole(connection, record, self.path, inputs=inputs, remake=remake)
        )
        return found

    def all_records(self, rid: int) -> Iterator[StepRecord]:
        """Every record of a run, a chunk at a time, so that a long read does not keep the journal from shrinking."""
        first = 0
        while chunk := self.records(rid, first):
            record_index.refuse_going_back(chunk[-1].seq, first - 1, self.path)
            yield from map(self.whole, chunk)
            first = chunk[-1].seq + 1

    def spent_by_calls(self, rid: int) -> dict[CallId, Amounts]:
        """What each call of a run has spent."""
        found: dict[CallId, Amounts] = self.journal.read(
            lambda connection: spending.of_calls(connection, rid, self.path)
        )
        return found

    def spent_by_children(self, rid: int) -> dict[str, Amounts]:
        """What each child run of a run has spent, by its id."""
        found: dict[str, Amounts] = self.journal.read(
            lambda connection: spending.of_children(connection, rid, self.path)
        )
        return found

    def spent_in(self, rid: int, label: str) -> Amounts:
        """What counts for one block of a run that has a budget."""
        found: Amounts = self.journal.read(lambda connection: spending.of_ledger(connection, rid, label, self.path))
        return found

    def raised_bounds(self, rid: int) -> Bounds:
        """What the budgets of a run may spend at least."""
        found: Bounds = self.journal.read(lambda connection: spending.raised_bounds(connection, rid, self.path))
        return found

    def exempted(self, rid: int) -> list[tuple[int, int]]:
        """First and last number of each stretch of records that is not held against the script.

        Raises:
            StateCorrupt: one of them is not as it was written.
        """
        found: list[tuple[int, int]] = self.journal.read(lambda connection: self.exempted_in(connection, rid))
        return found

    def attempts(self, rid: int, epoch: int) -> list[tuple[str, bytes, int, int, int, float]]:
        """Name, key, occurrence, number, counted and start of the attempts that still count."""
        found = [checked_of_run(AttemptRecord, row, self.path) for row in self._all("attempts_of_epoch", rid, epoch)]
        return [(one.name, one.key, one.n, one.number, one.counted, one.started) for one in found]

    def tried_calls(self, rid: int, name: str) -> set[tuple[bytes, int]]:
        """Key and occurrence of the calls of a step of which an attempt has failed, in any life of the run."""
        found = [checked_of_run(AttemptRecord, row, self.path) for row in self._all("attempts_of_step", rid, name)]
        return {(one.key, one.n) for one in found}

    def attempt_records(self, rid: int) -> list[AttemptRecord]:
        """Every failed attempt of a run."""
        return self._attempts("attempts_of_run", rid)

    def last_failure(self, rid: int) -> AttemptRecord | None:
        """The failed attempt that began last, of a run and its child runs."""
        found = self._attempts("last_failure", rid)
        return found[0] if found else None

    def attempts_of(self, rid: int, name: str, key: bytes, n: int) -> list[AttemptRecord]:
        """Every failed attempt of one call."""
        return self._attempts("attempts_of_call", rid, name, key, n % SET_ASIDE)

    def last_attempt(self, rid: int) -> AttemptRecord | None:
        """The failed attempt of a run that began last."""
        found = self._all("last_attempt", rid)
        return checked_of_run(AttemptRecord, found[0], self.path) if found else None

    def notes(self, rid: int) -> list[AttemptRecord]:
        """What a run has done unsaved, in the order in which that was noticed."""
        return [checked_of_run(AttemptRecord, row, self.path) for row in self._all("notes", rid)]

    def last_record(self, rid: int) -> StepRecord | None:
        """The newest record of a run."""
        record: StepRecord | None = self.journal.read(lambda connection: self._last(connection, rid))
        return None if record is None else self.whole(record)

    def counts(self, rid: int) -> dict[str, int]:
        """How many records of each status a run has."""

        def question(connection: apsw.Connection) -> dict[str, int]:
            rows: list[Any] = connection.execute(self._sql["count_steps"], (rid,)).fetchall()
            found: dict[str, int] = dict(rows)
            done = self.steps_in(connection, rid) - sum(found.values())
            return found | {"done": done} if done > 0 else found

        counts: dict[str, int] = self.journal.read(question)
        return counts

    def function(self, rid: int, kind: StepKind, name: str) -> FunctionRecord | None:
        """Whose function a run calls under a name; None if it did not say so.

        Raises:
            StateCorrupt: a checksum does not match.
        """
        rows = self._all("get_function", rid, kind, name)
        return checked_of_run(FunctionRecord, rows[0], self.path) if rows else None

    # -- in a transaction ---------------------------------------------------------------------------------------------

    def steps_in(self, connection: apsw.Connection, rid: int) -> int:
        """How many steps a run has come past. No payload is read for it."""
        count: int = self._one(connection, "all_steps", rid)[0]
        return count

    def index_in(self, connection: apsw.Connection, rid: int) -> list[IndexRow]:
        """The same as `index`."""
        page = record_index.page_in(connection, rid, self.path)
        return [] if page is None else list(zip(*page, strict=True))

    def exempted_in(self, connection: apsw.Connection, rid: int) -> list[tuple[int, int]]:
        """The same as `exempted`."""
        rows: list[Any] = connection.execute(self._sql["exempted"], (rid,)).fetchall()
        if not all(map(sound, rows)):
            raise corrupt(self.path)
        return [(first, last) for _, first, last, _ in rows]

    def refuse_damaged_steps(self, connection: apsw.Connection, rid: int) -> None:
        """Read all records of a run.

        Raises:
            StateCorrupt: one of them is not as it was written.
        """
        seq = 0
        while rows := connection.execute(self._sql["steps_from"], (rid, seq, CHUNK)).fetchall():
            last = checked_steps(rows, self.path)[-1].seq
            record_index.refuse_going_back(last, seq - 1, self.path)
            seq = last + 1

    def attempts_in(self, connection: apsw.Connection, rid: int, record: StepRecord) -> list[AttemptRecord]:
        """Every failed attempt of the call of a record, as they are stored."""
        who = (rid, record.name, record.key, record.n % SET_ASIDE)
        rows = connection.execute(self._sql["attempts_of_call"], who).fetchall()
        return [checked_of_run(AttemptRecord, row, self.path) for row in rows]

    def record_in(self, connection: apsw.Connection, rid: int, seq: int) -> StepRecord:
        """A record of a run, as it is stored.

        Raises:
            StateCorrupt: it is gone, or does not match its checksum.
        """
        row = self._one(connection, "steps_from", rid, seq, 1)
        record = None if row is None else checked_of_run(StepRecord, row, self.path)
        if record is None or record.seq != seq:
            raise StateCorrupt(
                f"record #{seq} is missing in {self.path}", "restore a backup: the file was edited from outside"
            )
        return record

    # -- inside -------------------------------------------------------------------------------------------------------

    def _one(self, connection: apsw.Connection, query: str, *values: Any) -> Any:
        return connection.execute(self._sql[query], values).fetchone()

    def _all(self, query: str, *values: Any) -> list[Any]:
        rows: list[Any] = self.journal.read(lambda connection: connection.execute(self._sql[query], values).fetchall())
        return rows

    def _attempts(self, query: str, *values: Any) -> list[AttemptRecord]:
        """Attempts with their inputs; what several in a row share is put together once."""
        found: list[AttemptRecord] = []
        last, given = b"", b""
        for row in self._all(query, *values):
            record = checked_of_run(AttemptRecord, row, self.path)
            if record.input != last:
                last = record.input
                given = self.whole(record).input
            found.append(record if given is last else msgspec.structs.replace(record, input=given))
        return found

    def _last(self, connection: apsw.Connection, rid: int) -> StepRecord | None:
        row = self._one(connection, "last_step", rid)
        return None if row is None else checked_of_run(StepRecord, row, self.path)
