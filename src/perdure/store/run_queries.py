"""What a state file says of its runs: the reading side of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from perdure.core.execution.known_records import IndexRow
from perdure.core.execution.run_effects import HolderInfo
from perdure.core.execution.spending import Amounts, Bounds, CallId
from perdure.core.records import (
    ENDING_NOTE,
    SET_ASIDE,
    AttemptRecord,
    FunctionRecord,
    Row,
    RunRecord,
    StepKind,
    StepRecord,
)
from perdure.errors import NotFound, StateCorrupt
from perdure.store import pieces, record_index, spending
from perdure.store.group_commit import Journal
from perdure.store.holders import Holder
from perdure.store.rows import all_plain, checked, checked_of_run, checked_steps, corrupt, here, sound
from perdure.store.statements import Statements

if TYPE_CHECKING:
    from perdure.core.policies.verdicts import Stop

CHUNK = 512
"""Records that are read together."""

PLAIN_AT_ONCE = 1_000
"""Those whose rows are read together, without making records of them."""


class RunQueries:
    """Questions about runs and their records.

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

    @property
    def counts_queues(self) -> bool:
        """Does it know all runs of a queue, and who is next?"""
        return True

    @property
    def place(self) -> str:
        """Where the runs are, for messages: "in FILE", or "on HOST:PORT"."""
        return f"in {self.path}"

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

    def stopped_by(self, run: RunRecord) -> Stop | None:
        """Why a run was left when it was last executed; None if that is not known, or it is under way or done."""
        from perdure.core.policies.verdicts import unpack_stop
        from perdure.store import stop_notes

        return unpack_stop(stop_notes.get(self.path, run.id)) or unpack_stop(run.stopped)

    def notes(self, rid: int) -> list[AttemptRecord]:
        """What a run has done unsaved, in the order in which that was noticed."""
        return [checked_of_run(AttemptRecord, row, self.path) for row in self._all("notes", rid)]

    def runs(
        self, *, status: str | None = None, workflow: str | None = None, children: bool = False, most: int = 100
    ) -> list[RunRecord]:
        """Runs, newest first."""
        # Where nearly all runs have that status, those that its index leads to would have to be sorted.
        by_index = status not in (None, "done", "cancelled")
        statement = self._sql["list_runs"].replace(":filter", self._sql["of_status" if by_index else "of_any_status"])
        if status == "running":
            statement = self._sql["list_running"].replace(":list", statement.partition("WHERE")[0])
        given = (status, workflow, children, most)
        found = self.journal.read(lambda connection: connection.execute(statement, given).fetchall())
        return [here(self.whole(checked(RunRecord, row, self.path)), self.path) for row in found]

    def run(self, id: str) -> RunRecord:
        """The run of that id.

        Raises:
            NotFound: there is none.
            StateCorrupt: its row is not as it was written.
        """

        def question(connection: apsw.Connection) -> RunRecord | None:
            found = self._one(connection, "find_id", id)
            try:
                return None if found is None else pieces.whole(connection, self._run(connection, found[0]), self.path)
            except StateCorrupt as error:
                from perdure.core.execution.run_refusals import with_way_out

                with_way_out(error, self.top_of(connection, found[0]) or id)
                raise

        run: RunRecord | None = self.journal.read(question)
        if run is None:
            raise NotFound(f"there is no run {id!r} {self.place}", "list the runs with `perdure ps`")
        return here(run, self.path)

    def newest(self, run: RunRecord) -> RunRecord:
        """What the id of a run stands for: its newest fork, unless that was cancelled and the run itself was done."""
        found: RunRecord = self.journal.read(
            lambda connection: pieces.whole(connection, self._newest(connection, run), self.path)
        )
        return here(found, self.path)

    def version(self) -> int:
        """Another number after each change that another connection has made to the file."""
        found: int = self.journal.read(lambda connection: connection.pragma("data_version"))
        return found

    def run_by_number(self, rid: int) -> RunRecord:
        """The run of that row number."""
        run: RunRecord = self.journal.read(
            lambda connection: pieces.whole(connection, self._run(connection, rid), self.path)
        )
        return here(run, self.path)

    def children(self, rid: int) -> list[str]:
        """The ids of a run's child runs."""
        return [id for (id,) in self._all("children", rid)]

    def count_children(self, rid: int) -> int:
        """How many child runs a run has."""
        number: int = self._all("count_children", rid)[0][0]
        return number

    def family(self, rid: int) -> list[RunRecord]:
        """A run and all its child runs, however deep."""

        def question(connection: apsw.Connection) -> list[RunRecord]:
            return [self._run(connection, one) for one in self.family_in(connection, rid)]

        found: list[RunRecord] = self.journal.read(question)
        return [here(run, self.path) for run in found]

    def unended(self, rid: int) -> list[RunRecord]:
        """The child runs that were left in their middle, and those that failed and have something to be put away."""
        return [self.run_by_number(child) for (child,) in self._all("unended", rid)]

    def undoing(self, rid: int) -> list[RunRecord]:
        """The child runs whose undoing was broken off."""
        return [self.run_by_number(child) for (child,) in self._all("undoing", rid, ENDING_NOTE)]

    def undoable(self, rid: int) -> list[RunRecord]:
        """The child runs, done or unfinished, that have made a call with undo=, or a child run of theirs has."""
        return [self.run_by_number(child) for (child,) in self._all("undoable", rid)]

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

    def holding(self, run: RunRecord) -> HolderInfo | None:
        """Who is running it at this moment, or None."""
        if run.holder is None:
            return None
        hid = run.holder
        info: HolderInfo | None = self.journal.read(lambda connection: self.holder.living(connection, hid))
        return info

    def unfinished(self, workflow: str) -> list[RunRecord]:
        """The newest unfinished runs of a workflow that have no name of their own."""
        return [checked(RunRecord, row, self.path) for row in self._all("unfinished", workflow)]

    def unfinished_of_others(self, workflow: str, key: bytes, script: str) -> list[RunRecord]:
        """The newest unfinished runs of a script with these inputs, of other workflows than that one."""
        found = self._all("unfinished_of_others", workflow, key, script)
        return [checked(RunRecord, row, self.path) for row in found]

    def function(self, rid: int, kind: StepKind, name: str) -> FunctionRecord | None:
        """Whose function a run calls under a name; None if it did not say so.

        Raises:
            StateCorrupt: a checksum does not match.
        """
        rows = self._all("get_function", rid, kind, name)
        return checked_of_run(FunctionRecord, rows[0], self.path) if rows else None

    def check(self) -> list[str]:
        """SQLite's own integrity check; an empty list is a clean file."""
        found = self.journal.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
        return [line for (line,) in found if line != "ok"]

    # -- in a transaction ---------------------------------------------------------------------------------------------

    def steps_in(self, connection: apsw.Connection, rid: int) -> int:
        """How many steps a run has come past. No payload is read for it."""
        count: int = self._one(connection, "all_steps", rid)[0]
        return count

    def run_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run of that row number, as it is stored."""
        return self._run(connection, rid)

    def root_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run that the one of that row number is a child of, however deep; itself if it stands for itself."""
        run = self._run(connection, rid)
        while run.parent is not None:
            run = self._run(connection, run.parent)
        return run

    def family_in(self, connection: apsw.Connection, rid: int) -> list[int]:
        """The numbers of a run and of all its child runs, however deep."""
        rows: list[Any] = connection.execute(self._sql["family"], (rid,)).fetchall()
        return [one for (one,) in rows]

    def top_of(self, connection: apsw.Connection, rid: int) -> str | None:
        """The id of the run that stands for itself and that the one of that number is part of, also if it is damaged.

        None if there is none any more.
        """
        found = self._one(connection, "top", rid)
        return None if found is None else found[0]

    def run_by_id(self, connection: apsw.Connection, id: str) -> RunRecord:
        """The run of that id, as it is stored.

        Raises:
            NotFound: there is none.
        """
        found = self._one(connection, "find_id", id)
        if found is None:
            raise NotFound(f"there is no run {id!r} {self.place}", "list the runs with `perdure ps`")
        return self._run(connection, found[0])

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
            seq = checked_steps(rows, self.path)[-1].seq + 1

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

    def _run(self, connection: apsw.Connection, rid: int) -> RunRecord:
        row = self._one(connection, "get_run", rid)
        if row is None:
            raise StateCorrupt(
                f"run number {rid} is missing in {self.path}", "restore a backup: the file was edited from outside"
            )
        return checked(RunRecord, row, self.path)

    def _newest(self, connection: apsw.Connection, run: RunRecord) -> RunRecord:
        line = [run]
        while (newer := line[-1].superseded_by) is not None:  # a fork is newer than its source: RunRecord.intact
            line.append(self._run(connection, newer))
        found = line.pop()
        while line:
            run = line.pop()
            found = run if found.status == "cancelled" and run.status == "done" else found
        return found

    def _last(self, connection: apsw.Connection, rid: int) -> StepRecord | None:
        row = self._one(connection, "last_step", rid)
        return None if row is None else checked_of_run(StepRecord, row, self.path)
