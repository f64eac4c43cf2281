"""The store: runs, steps, attempts and dead letters, read and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from perdure.core.dead_letters import LetterRecord
from perdure.core.execution.effects import Save
from perdure.core.execution.history import IndexRow
from perdure.core.execution.run import End, Finished, Forget, Held, HolderInfo, Locked, Other, Start, Taken
from perdure.core.records import RUN, AttemptRecord, Row, RunRecord, StepRecord, run_checksum
from perdure.errors import LockLost, NotFound, StateCorrupt, StateError
from perdure.store import database, dead_letters
from perdure.store.holders import Holder
from perdure.store.journal import Journal, Operation
from perdure.store.locks import Asker, Locks, asker
from perdure.store.statements import load

R = TypeVar("R", StepRecord, AttemptRecord, RunRecord, LetterRecord)

CHUNK = 512


class Store:
    """One state file, as one process uses it.

    Args:
        path: the state file; made if missing.
        read_only: for looking only.
        vfs: a registered SQLite VFS, for tests that inject faults.

    Raises:
        StateError: the file cannot be used; it is left as it was.
    """

    def __init__(self, path: Path, *, read_only: bool = False, vfs: str | None = None) -> None:
        self.path = path
        self._sql = load("runs.sql")
        connection = database.connect(path, create=not read_only, read_only=read_only, vfs=vfs)
        self.journal = Journal(connection, path, self._sql["add_step"], self._ended)
        self.holder = Holder(path, self._sql)
        self.locks = Locks(
            self.holder, lambda connection, rid: (self._run(connection, rid), self._last(connection, rid))
        )
        self._active: dict[int, int | None] = {}  # what this process executes, and whose children those runs are
        self._taken: list[int] = []  # in the transaction under way

    # -- taking and ending runs ---------------------------------------------------------------------------------------

    def begin(self, start: Start, now: float) -> Operation:
        """An operation that finds or makes a run and takes it: returns Taken, Held, Locked, Finished or Other."""
        who = asker()

        def operation(connection: apsw.Connection) -> Taken | Held | Locked | Finished | Other:
            self.check_sound(connection)
            if start.rid is not None:
                return self._take(connection, self._run(connection, start.rid), start, now, who)
            if start.id is not None:
                found = self._one(connection, "find_id", start.id)
            else:
                found = self._one(connection, "find_unfinished", start.workflow, start.key, start.script)
            if found is None:
                return self._add(connection, start, now, who)
            run = self._run(connection, found[0])
            return Other(run) if run.key != start.key else self._take(connection, run, start, now, who)

        return operation

    def _add(self, connection: apsw.Connection, start: Start, now: float, who: Asker) -> Taken | Locked:
        locked = self.locks.obstacle(connection, start.lock, who)
        if locked is not None:
            return locked
        id = start.id or start.fresh
        crc = run_checksum(id, start.workflow, start.key, "running", start.input, None)
        hid = self.holder.hid(connection, now)
        row = (id, start.script, start.path, start.workflow, start.key, start.named, start.parent, hid)
        (rid,) = next(connection.execute(self._sql["add_run"], (*row, start.input, now, now, crc)))
        self._hold(connection, rid, start, now)
        names = (rid, id, start.script, start.path, start.workflow, start.key, start.named, start.parent)
        return Taken(RunRecord(*names, "running", hid, 0, start.input, None, now, now, None, crc), resumed=False)

    def _take(
        self, connection: apsw.Connection, run: RunRecord, start: Start, now: float, who: Asker
    ) -> Taken | Held | Locked | Finished:
        if run.status in ("done", "cancelled") or (run.status == "parked" and start.rid is None):
            return Finished(run)
        if run.rid in self._active:
            return Held(run, None, self._last(connection, run.rid))
        if run.holder is not None and not self.holder.is_me(run.holder):
            info = self.holder.living(connection, run.holder)
            if info is not None:
                return Held(run, info, self._last(connection, run.rid))
        locked = self.locks.obstacle(connection, start.lock, who)
        if locked is not None:
            return locked
        if run.holder is not None and not self.holder.is_me(run.holder):
            self.holder.bury(connection, run.holder)
        hid = self.holder.hid(connection, now)
        crc = run_checksum(run.id, run.workflow, run.key, "running", run.input, None)
        connection.execute(self._sql["take_run"], (hid, start.path, now, crc, run.rid))
        self._hold(connection, run.rid, start, now)
        return Taken(self._run(connection, run.rid), resumed=True)

    def end(self, effect: End, now: float, terms: dead_letters.Terms = dead_letters.TERMS) -> Operation:
        """An operation that ends a run, and takes back the records it forgets; one that is parked is a dead letter.

        The operation returns a letters.Parking then, else None.
        """
        run, status = effect.run, effect.status
        output = None if status == "cancelled" else effect.output
        epoch = run.epoch + (status in ("failed", "parked"))
        crc = run_checksum(run.id, run.workflow, run.key, status, run.input, output)

        def operation(connection: apsw.Connection) -> dead_letters.Parking | None:
            if not self.holder.owns(connection, run.rid):
                raise self._taken_over(run.id)
            hid = self.holder.hid(connection, now)
            connection.execute(self._sql["end_run"], (status, output, now, epoch, crc, run.rid, hid))
            if connection.changes() != 1:
                raise self._taken_over(run.id)
            self.locks.leave(connection, run.rid)
            connection.execute(self._sql["forget_crashes"], (run.rid,))
            self._take_back(connection, run.rid, effect.forget, effect.aftermath)
            if status == "done":
                dead_letters.run_done(connection, run.rid, now)
            if status != "parked":
                return None
            parking: dead_letters.Parking = dead_letters.park_run(run, terms, now)(connection)
            return parking

        return operation

    def forget(self, effect: Forget) -> Operation:
        """An operation that takes back records: the workflow turned out not to have moved past them."""

        def operation(connection: apsw.Connection) -> None:
            self.check_owned(connection, effect.run.rid, effect.run.id)
            self._take_back(connection, effect.run.rid, effect.seqs, effect.aftermath)

        return operation

    def _take_back(
        self, connection: apsw.Connection, rid: int, seqs: Sequence[int], aftermath: tuple[int, int] | None
    ) -> None:
        for seq in seqs:
            connection.execute(self._sql["drop_step"], (rid, seq))
            dead_letters.forget(connection, rid, seq)
        if aftermath is not None:
            connection.execute(self._sql["exempt"], (rid, *aftermath))

    def let_go(self, run: RunRecord) -> None:
        """This process runs it no more."""
        self.locks.forget(run.rid)
        self._active.pop(run.rid, None)

    def release(self, run: RunRecord, now: float) -> None:
        """The run was stopped without having ended: let it go, and say so in the file if that can still be done."""

        def operation(connection: apsw.Connection) -> None:
            connection.execute(self._sql["release_run"], (run.rid, self.holder.hid(connection, now)))
            self.locks.leave(connection, run.rid)

        with suppress(StateError):
            self.journal.write((), operation)
        self.let_go(run)

    def ask_to_stop(self, id: str, now: float) -> tuple[RunRecord, HolderInfo | None]:
        """Tell whoever executes a run to end it; returns the run as it was, and who that is, if anybody.

        Raises:
            NotFound: there is none.
        """
        rid = self.run(id).rid

        def operation(connection: apsw.Connection) -> tuple[RunRecord, HolderInfo | None]:
            run = self._run(connection, rid)
            by = None if run.holder is None else self.holder.living(connection, run.holder)
            if by is not None:
                connection.execute(self._sql["ask_stop"], (now, rid))
            return run, by

        run, by = self.journal.write((), operation)
        if by is not None:
            self.holder.nudge(by.token)
        return run, by

    def accept(self, rid: int) -> None:
        """Do not hold the records so far against the edited script."""
        self.journal.write((), lambda connection: connection.execute(self._sql["exempt_all"], (rid,)) and None)

    def fork(self, source: RunRecord, new_id: str, before: int, now: float) -> Operation:
        """An operation that makes a new, unfinished run with the records of another up to (not including) `before`."""

        def operation(connection: apsw.Connection) -> str:
            crc = run_checksum(new_id, source.workflow, source.key, "running", source.input, None)
            hid = self.holder.hid(connection, now)  # who adds records to a run has to hold it
            row = (new_id, source.script, source.path, source.workflow, source.key, True, None, hid)
            (rid,) = next(connection.execute(self._sql["add_run"], (*row, source.input, now, now, crc)))
            connection.execute(self._sql["copy_steps"], (rid, source.rid, before))
            dead_letters.copy(connection, source.rid, rid, before)
            connection.execute(self._sql["copy_exempt"], (rid, source.rid))
            connection.execute(self._sql["release_run"], (rid, hid))
            return new_id

        return operation

    def _hold(self, connection: apsw.Connection, rid: int, start: Start, now: float) -> None:
        self._active[rid] = start.parent
        self._taken.append(rid)
        self.locks.join(connection, start.lock, rid, now)

    def _ended(self, committed: bool) -> None:
        """A transaction has ended; a rolled back one took nothing, and introduced nobody."""
        if not committed:
            for rid in self._taken:
                self._active.pop(rid, None)
        self._taken.clear()
        self.locks.ended(committed)
        self.holder.ended(committed)

    # -- what others may have taken over ------------------------------------------------------------------------------

    def check_sound(self, connection: apsw.Connection) -> None:
        """Take nothing more with a lock file that others do not see.

        Raises:
            LockLost: it was removed, or somebody took this process for dead, while it executes something.
        """
        if self.holder.sound(connection):
            return
        if self._active or self.locks.any:
            raise LockLost(
                f"the lock file of this process is gone from {self.path}-locks, or it was taken for dead",
                "end this process, and run again; never remove that folder while something runs",
            )
        self.holder.renew()

    def check_owned(self, connection: apsw.Connection, rid: int, id: str | None = None) -> None:
        """Write only to runs that this process still holds.

        Raises:
            LockLost: another process has taken this one over.
        """
        if not self.holder.owns(connection, rid):
            raise self._taken_over(id or self._run(connection, rid).id)

    def enter(self, name: str, who: Asker, now: float) -> Operation:
        """An operation that takes a lock for a block: returns its fence, or Locked."""
        enter = self.locks.enter(name, who, now)

        def operation(connection: apsw.Connection) -> int | Locked:
            self.check_sound(connection)
            fence: int | Locked = enter(connection)
            return fence

        return operation

    def _taken_over(self, id: str) -> LockLost:
        return LockLost(
            f"run {id} was taken over by another process",
            "nothing more of it is saved here; see who has it with `perdure ps`",
        )

    def lineage(self, rid: int) -> list[int]:
        """A run that this process executes, the run that it is a child of, and so on."""
        line = [rid]
        while (parent := self._active.get(line[-1])) is not None:
            line.append(parent)
        return line

    # -- what a run writes --------------------------------------------------------------------------------------------

    def stopping(self, rid: int) -> bool:
        """Has somebody asked for the end of the run, or of one that it is a child of?"""
        count: int = self._all("stopping", rid)[0][0]
        return count > 0

    def saving(self, effect: Save, now: float, terms: dead_letters.Terms = dead_letters.TERMS) -> Operation | None:
        """What has to be done besides writing the rows: some are taken back, and dead letters are parked.

        The operation returns a letters.Parking.
        """
        if not effect.letters and not effect.drop:
            return None
        rid = effect.rows[0][RUN]
        parked = [(rid, seq) for seq in effect.letters]

        def operation(connection: apsw.Connection) -> dead_letters.Parking:
            self._take_back(connection, rid, effect.drop, None)
            return dead_letters.park(connection, parked, terms, now)

        return operation

    def attempt(self, rid: int, record: AttemptRecord) -> Operation:
        """An operation that writes down a failed attempt."""
        row = msgspec.structs.astuple(record)

        def operation(connection: apsw.Connection) -> None:
            if not self.holder.redrives(connection, rid):
                self.check_owned(connection, rid)
            connection.execute(self._sql["add_attempt"], (rid, *row))

        return operation

    # -- reading ------------------------------------------------------------------------------------------------------

    def index(self, rid: int) -> list[IndexRow]:
        """Number, name, key, occurrence, status and kind of all records of a run, in order of completion."""
        return self._all("step_index", rid)

    def records(self, rid: int, first: int = 0, most: int = CHUNK) -> list[StepRecord]:
        """Up to `most` records of a run, beginning with number `first`.

        Raises:
            StateCorrupt: a checksum does not match.
        """
        return [self._record(StepRecord, row) for row in self._all("steps_from", rid, first, most)]

    def record(self, rid: int, seq: int) -> StepRecord:
        """The record of that number.

        Raises:
            StateCorrupt: it is gone, or does not match its checksum.
        """
        record: StepRecord = self.journal.read(lambda connection: self.record_in(connection, rid, seq))
        return record

    def all_records(self, rid: int) -> Iterator[StepRecord]:
        """Every record of a run, a chunk at a time, so that a long read does not keep the journal from shrinking."""
        first = 0
        while chunk := self.records(rid, first):
            yield from chunk
            first = chunk[-1].seq + 1

    def exempted(self, rid: int) -> list[tuple[int, int]]:
        """First and last number of each stretch of records that is not held against the script."""
        return self._all("exempted", rid)

    def attempts(self, rid: int, epoch: int) -> list[tuple[str, bytes, int, int, int, float]]:
        """Name, key, occurrence, number, counted and start of the attempts that still count."""
        return self._all("attempts_of_epoch", rid, epoch)

    def attempt_records(self, rid: int) -> list[AttemptRecord]:
        """Every failed attempt of a run."""
        return [self._record(AttemptRecord, row) for row in self._all("attempts_of_run", rid)]

    def last_failure(self, rid: int) -> AttemptRecord | None:
        """The failed attempt that began last, of a run and its child runs."""
        found = self._all("last_failure", rid)
        return self._record(AttemptRecord, found[0]) if found else None

    def attempts_of(self, rid: int, name: str, key: bytes, n: int) -> list[AttemptRecord]:
        """Every failed attempt of one call."""
        return [self._record(AttemptRecord, row) for row in self._all("attempts_of_call", rid, name, key, n)]

    def runs(
        self, *, status: str | None = None, workflow: str | None = None, children: bool = False, most: int = 100
    ) -> list[RunRecord]:
        """Runs, newest first."""
        return [self._record(RunRecord, row) for row in self._all("list_runs", status, workflow, children, most)]

    def run(self, id: str) -> RunRecord:
        """The run of that id.

        Raises:
            NotFound: there is none.
        """

        def question(connection: apsw.Connection) -> RunRecord | None:
            found = self._one(connection, "find_id", id)
            return None if found is None else self._run(connection, found[0])

        run: RunRecord | None = self.journal.read(question)
        if run is None:
            raise NotFound(f"there is no run {id!r} in {self.path}", "list the runs with `perdure ps`")
        return run

    def run_by_number(self, rid: int) -> RunRecord:
        """The run of that row number."""
        run: RunRecord = self.journal.read(lambda connection: self._run(connection, rid))
        return run

    def children(self, rid: int) -> list[str]:
        """The ids of a run's child runs."""
        return [id for (id,) in self._all("children", rid)]

    def last_record(self, rid: int) -> StepRecord | None:
        """The newest record of a run."""
        record: StepRecord | None = self.journal.read(lambda connection: self._last(connection, rid))
        return record

    def counts(self, rid: int) -> dict[str, int]:
        """How many records of each status a run has."""
        return dict(self._all("count_steps", rid))

    def holding(self, run: RunRecord) -> HolderInfo | None:
        """Who is running it at this moment, if somebody is."""
        if run.holder is None:
            return None
        hid = run.holder
        info: HolderInfo | None = self.journal.read(lambda connection: self.holder.living(connection, hid))
        return info

    def check(self) -> list[str]:
        """SQLite's own integrity check; an empty list is a clean file."""
        found = self.journal.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
        return [line for (line,) in found if line != "ok"]

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self.journal.close()
        self.holder.close()

    # -- in somebody's transaction ------------------------------------------------------------------------------------

    def run_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run of that row number."""
        return self._run(connection, rid)

    def record_in(self, connection: apsw.Connection, rid: int, seq: int) -> StepRecord:
        """A record of a run.

        Raises:
            StateCorrupt: it is gone, or does not match its checksum.
        """
        row = self._one(connection, "steps_from", rid, seq, 1)
        if row is None or row[0] != seq:
            raise StateCorrupt(
                f"record #{seq} has vanished from {self.path}", "somebody edited the file; restore a backup"
            )
        return self._record(StepRecord, row)

    def take_back(self, connection: apsw.Connection, rid: int, seqs: Sequence[int]) -> None:
        """Remove records."""
        self._take_back(connection, rid, seqs, None)

    def add_row(self, connection: apsw.Connection, row: Row) -> None:
        """Add a record to a run that nobody executes."""
        with self.holder.lent(connection, row[RUN], self._run(connection, row[RUN]).holder):
            connection.execute(self._sql["add_step"], row)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _one(self, connection: apsw.Connection, query: str, *values: Any) -> Any:
        return connection.execute(self._sql[query], values).fetchone()

    def _all(self, query: str, *values: Any) -> list[Any]:
        rows: list[Any] = self.journal.read(lambda connection: connection.execute(self._sql[query], values).fetchall())
        return rows

    def _run(self, connection: apsw.Connection, rid: int) -> RunRecord:
        return self._record(RunRecord, self._one(connection, "get_run", rid))

    def _last(self, connection: apsw.Connection, rid: int) -> StepRecord | None:
        row = self._one(connection, "last_step", rid)
        return None if row is None else self._record(StepRecord, row)

    def _record(self, kind: type[R], row: Sequence[Any]) -> R:
        record = intact(kind, row)
        if record is None:
            raise StateCorrupt(
                f"a stored record does not match its checksum: {self.path}",
                "the file was damaged or edited from outside; see `perdure doctor`, or restore a backup",
            )
        return record


def intact(kind: type[R], row: Sequence[Any]) -> R | None:
    """The row as a record, if it is as it was written."""
    try:
        record = kind(*row)
        return record if record.intact() else None
    except (TypeError, ValueError, AttributeError):  # a column holds another type than was ever written to it
        return None
