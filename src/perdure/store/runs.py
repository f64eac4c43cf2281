"""The store: runs, steps, attempts and dead letters, read and written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.config.script_identity import source_digest
from perdure.core.execution.effects import Save
from perdure.core.execution.queueing import QueuedRun
from perdure.core.execution.run import (
    Answer,
    Asleep,
    End,
    Finished,
    Forget,
    Held,
    HolderInfo,
    Locked,
    Other,
    Reopen,
    Start,
    Superseded,
    Taken,
)
from perdure.core.execution.spending import Bounds
from perdure.core.function_code import Code
from perdure.core.policies.verdicts import Stop, pack_stop
from perdure.core.records import (
    KIND,
    NOTED,
    OUTPUT,
    RUN,
    SEQ,
    WIDTH,
    AttemptRecord,
    FunctionRecord,
    Row,
    RunRecord,
)
from perdure.core.redaction.printable import one_line
from perdure.core.values import artifact_names, codec
from perdure.core.values.pieces import INLINE
from perdure.errors import LockLost, StateError
from perdure.store import (
    artifacts,
    awaited_ends,
    batches,
    bell,
    database,
    flight_record,
    lives,
    parking,
    pieces,
    queue,
    sessions,
    spending,
    stop_notes,
)
from perdure.store import code as functions
from perdure.store.batches import BatchRow
from perdure.store.given_up_waits import GivenUpWaits
from perdure.store.group_commit import Journal, Operation
from perdure.store.holders import Holder
from perdure.store.lives import Cut
from perdure.store.locks import Asker, Locks, asker
from perdure.store.rows import corrupt, intact, sealed
from perdure.store.run_queries import RunQueries
from perdure.store.statements import load


class Store(RunQueries):
    """One state file, as one process uses it.

    Args:
        path: the state file; made if missing.
        read_only: for looking only.
        vfs: a registered SQLite VFS, for tests that inject faults.

    Raises:
        StateError: the file cannot be used; it is left as it was.
    """

    def __init__(self, path: Path, *, read_only: bool = False, vfs: str | None = None) -> None:
        sql = load("runs.sql")
        connection = database.connect(path, create=not read_only, read_only=read_only, vfs=vfs)
        self._insert = {KIND + 1: sql["add_step"], WIDTH: sql["add_whole_step"]}
        super().__init__(path, sql, Journal(connection, path, self._insert, self._ended), Holder(path, sql))
        # SQLite's limit holds for a row as a whole, with its other columns.
        limit = connection.limit(apsw.SQLITE_LIMIT_LENGTH)
        self.largest = limit - min(limit // 16, 65_536)
        self.spend_file = spending.SpendFile(path)
        artifacts.folder_of(path)
        self._spend_files: list[Path] = []  # of dead processes, taken over in the transaction under way
        self.locks = Locks(
            path, self.holder, lambda connection, rid: (self._run(connection, rid), self._last(connection, rid))
        )
        self.given_up_waits = GivenUpWaits()
        self._active: dict[int, int | None] = {}  # what this process executes, and whose children those runs are
        self.noted: set[tuple[str, str]] = set()  # workflows and scripts beside which unfinished runs were looked for
        self._taken: list[int] = []  # in the transaction under way
        self._nudges: dict[int, int] = {}  # of new runs: what `holder.nudges` was in the transaction that made them
        self._rings = False  # in the transaction under way: it makes a run ready, which a worker waits for
        self._ends = False  # it has changed how a run stands, or has let go of one
        self._codes: set[bytes] = set()  # functions that this process has written down
        self._met: list[RunRecord] = []  # it has met runs that have ended, and whose ids were enqueued

    # -- taking and ending runs ---------------------------------------------------------------------------------------

    def begin(self, start: Start, now: float) -> Operation:
        """An operation that finds or makes a run and takes it: returns one of core.execution.run.Answer."""
        who = asker()

        def operation(connection: apsw.Connection) -> Answer:
            answer = find(connection)
            if isinstance(answer, Locked):
                return answer
            return msgspec.structs.replace(answer, run=pieces.whole(connection, answer.run, self.path))

        def find(connection: apsw.Connection) -> Answer:
            self.check_sound(connection)
            if start.rid is not None:
                run = self._run(connection, start.rid)
                if run.superseded and run.superseded_by is not None:
                    return Superseded(run, self._run(connection, run.superseded_by))
                return self._take(connection, run, start, now, who)
            if start.id is not None:
                found = self._one(connection, "find_id", start.id)
            else:
                found = self._one(connection, "find_unfinished", start.workflow, start.key, start.script)
                if found is None and start.once:
                    found = self._one(connection, "find_done", start.workflow, start.key, start.script)
            if found is None:
                self._refuse_damaged(connection, start)
                return self._add(connection, start, now, who)
            run = self._newest(connection, self._run(connection, found[0]))
            return Other(run) if run.key != start.key else self._take(connection, run, start, now, who)

        return operation

    def _add(self, connection: apsw.Connection, start: Start, now: float, who: Asker) -> Taken | Locked:
        locked = self.locks.obstacle(connection, start.lock, who)
        if locked is not None:
            return locked
        id = start.id or start.fresh
        hid = self.holder.hid(connection, now)
        rid = self._next_run(connection)
        names = (rid, id, start.script, start.path, start.workflow, start.key, start.named, start.parent)
        run = RunRecord(*names, "running", hid, 0, start.input, None, now, now, None, 0, timed_from=now)
        run = self.insert_run(connection, run)
        sessions.begin(connection, run, source_digest(start.path), first=True)
        self._hold(connection, rid, start, now)
        if run.parent is None:
            self._nudges[rid] = self.holder.nudges()
        return Taken(run, resumed=False)

    def _refuse_damaged(self, connection: apsw.Connection, start: Start) -> None:
        """No run was found. Is that so because the columns or the index that find it are damaged?

        Raises:
            StateCorrupt: one of the newest runs of these inputs is not as it was written, or it should have been found.
        """
        for row in connection.execute(self._sql["same_inputs"], (start.key,)).fetchall():
            run = intact(RunRecord, row)
            if run is None:
                if not {start.id, start.workflow, start.script}.isdisjoint(row[1:5]):
                    raise corrupt(self.path)
            elif run.id == start.id or (
                start.id is None
                and (run.workflow, run.script, run.named, run.parent) == (start.workflow, start.script, False, None)
                and run.status in ("running", "failed", "suspended")
                and run.superseded_by is None
            ):
                raise corrupt(self.path)

    def _take(
        self,
        connection: apsw.Connection,
        run: RunRecord,
        start: Start,
        now: float,
        who: Asker,
        served: queue.Served | None = None,
    ) -> Taken | Held | Locked | Finished | Asleep:
        if run.status in ("done", "cancelled") or (run.status == "parked" and start.rid is None):
            return Finished(run)
        if run.rid in self._active:
            return Held(run, None, self._last(connection, run.rid))
        if run.status == "suspended" and start.rid is None and start.parent is None and not _is_ready(run, start, now):
            return Asleep(run)
        if run.holder is not None and not self.holder.is_me(run.holder):
            info = self.holder.living(connection, run.holder)
            if info is not None:
                return Held(run, info, self._last(connection, run.rid))
        locked = self.locks.obstacle(connection, start.lock, who, rid=run.rid)
        if locked is not None:
            return locked
        died = None
        if run.holder is not None and not self.holder.is_me(run.holder):
            died = self.holder.number_here(connection, run.holder)
            self.holder.bury(connection, run.holder)
            token = self.holder.known_as(connection, run.holder).token
            if (flight := flight_record.read(flight_record.record_of(self.path, token))) is not None:
                sessions.died(connection, [flight])
        queued = run.status == "queued"
        if not queued:  # it may have spent something, and have been left with a note
            self._spend_files += spending.take_over(connection, self.path, self.holder.token)
        hid = self.holder.hid(connection, now)
        changed: dict[str, Any] = {
            "status": "running",
            "holder": hid,
            "path": start.path,
            "started": now,
            "ended": None,
            "output": None,
            "stopped": None,
            "timed_from": self._timed_from(connection, run, now),
            "wake": None,
            "hold": None,
            "turn": None,
        }
        if queued:
            queue.begun(self, connection, run, now, served)
        run = self.put_run(connection, run, **changed)
        digest = source_digest(start.path) if served is None else served.digest(start.path)
        sessions.begin(connection, run, digest, first=queued)
        if not queued:
            stop_notes.remove(self.path, run.id)
        self._hold(connection, run.rid, start, now)
        return Taken(run, resumed=not queued, died=died)

    def _timed_from(self, connection: apsw.Connection, run: RunRecord, now: float) -> float:
        """Since when the timeout of a run counts that goes on: anew after a failure, its own or its parent's."""
        if run.status not in ("running", "suspended") or run.timed_from is None:
            return now
        above = None if run.parent is None else self._run(connection, run.parent).timed_from
        return run.timed_from if above is None else max(run.timed_from, above)

    def end(
        self,
        effect: End,
        now: float,
        terms: parking.Terms = parking.TERMS,
    ) -> Operation:
        """An operation that ends a run, and takes back the records it forgets; one that is parked is a dead letter.

        It returns a parking.Parking if the run is parked, else None.
        """
        run, status = effect.run, effect.status
        output = None if status == "cancelled" else effect.output
        epoch = run.epoch + (status in ("failed", "parked"))

        def operation(connection: apsw.Connection) -> parking.Parking | None:
            if not self.holder.owns(connection, run.rid):
                raise self._taken_over(run.id)
            changed = {"status": status, "output": output, "ended": now, "holder": None, "stop": None, "epoch": epoch}
            changed["stopped"] = effect.stopped
            found = self._run(connection, run.rid)
            self._take_back(connection, run.rid, effect.forget, effect.aftermath)
            if effect.aftermath is not None and status in awaited_ends.GONE_ON_WITH:
                self.given_up_waits.restore(connection, run.rid, effect.aftermath)
            crashed, waits, letter = self._one(connection, "beside", run.rid)
            self.put_run(connection, found, awaited=waits or found.forked_from is not None, **changed)
            sessions.end(connection, found, status, now)
            self.locks.leave(connection, run.rid)
            if crashed:
                connection.execute(self._sql["forget_crashes"], (run.rid,))
            if status == "done" and letter:
                parking.run_done(connection, self.path, run.rid, now)
            if status != "parked":
                return None
            return parking.park_run(connection, self.path, run, output, terms, now)

        return operation

    def forget(self, effect: Forget) -> Operation:
        """An operation that takes back records: the workflow turned out not to have moved past them."""

        def operation(connection: apsw.Connection) -> None:
            self.check_owned(connection, effect.run.rid, effect.run.id)
            self._take_back(connection, effect.run.rid, effect.seqs, effect.aftermath)

        return operation

    def reopen(self, effect: Reopen) -> Operation:
        """An operation that lets a child run that is done be undone, and made again: returns False if it is not done.

        Its record in the parent goes with it, and so does that of the calls that it had deferred, which are due again.
        """
        parent, child = effect.run, effect.child

        def operation(connection: apsw.Connection) -> bool:
            self.check_owned(connection, parent.rid, parent.id)
            assert child.start.rid is not None
            run = self._run(connection, child.start.rid)
            if run.status != "done" or run.parent != parent.rid:
                return False
            if child.seq:
                self.take_back(connection, parent.rid, [child.seq])
            if effect.again:
                connection.execute(self._sql["drop_deferred"], (run.rid,))
            unfinished: dict[str, Any] = {"status": "running", "holder": None, "output": None, "ended": None}
            unfinished["timed_from"] = None
            self.put_run(connection, run, **unfinished)
            return True

        return operation

    def _take_back(
        self, connection: apsw.Connection, rid: int, seqs: Sequence[int], aftermath: tuple[int, int] | None
    ) -> None:
        for seq in seqs:
            connection.execute(self._sql["drop_step"], (rid, seq))
            parking.forget(connection, rid, seq)
        if aftermath is not None:
            self.exempt_in(connection, rid, [aftermath])

    def let_go(self, run: RunRecord) -> None:
        """This process runs it no more."""
        self.given_up_waits.forget(run.rid)
        self.locks.forget(run.rid)
        self._active.pop(run.rid, None)

    def release(self, run: RunRecord, now: float, stop: Stop | None = None, cut: Sequence[Cut] = ()) -> None:
        """The run was stopped without having ended: let it go, and say why, beside the file if not in it.

        Args:
            run: which.
            now: when.
            stop: what has stopped it; None if that is not kept.
            cut: the calls in whose middle that was.
        """
        stopped = None if stop is None else pack_stop(stop)

        def operation(connection: apsw.Connection) -> None:
            found = self._run(connection, run.rid)
            if found.holder == self.holder.hid(connection, now):
                self.put_run(connection, found, holder=None, stopped=stopped)
                sessions.end(connection, found, sessions.INTERRUPTED, now)
            self.locks.leave(connection, run.rid)
            lives.add(connection, run.rid, self.holder.token, cut, now)

        try:
            self.journal.write((), operation)
        except StateError:
            if stopped is not None:
                stop_notes.put(self.path, run.id, stopped)
        self.let_go(run)

    def not_ended(self, run: RunRecord, stop: Stop) -> None:
        """The end of a run cannot be written: let it go, and say why beside the file."""
        stop_notes.put(self.path, run.id, pack_stop(stop))
        self.let_go(run)

    def note(self, run: RunRecord, about: bytes, fault: bytes, now: float) -> None:
        """Keep with a run what it has done unsaved; the newest note about each thing (16 bytes) counts."""
        note = AttemptRecord(run.epoch, NOTED, about, 0, 1, False, b"", fault, now, 0, 0).sealed(run.rid)
        with suppress(StateError):
            self.journal.write(
                (), lambda at: at.execute(self._sql["put_note"], (run.rid, *msgspec.structs.astuple(note))) and None
            )

    def ask_to_stop(self, id: str, now: float) -> tuple[RunRecord, HolderInfo | None]:
        """Ask the process that executes a run to end it; returns the run as it was, and that process, or None.

        Raises:
            NotFound: there is none.
        """
        rid = self.run(id).rid

        def operation(connection: apsw.Connection) -> tuple[RunRecord, HolderInfo | None]:
            run = self._run(connection, rid)
            by = None if run.holder is None else self.holder.living(connection, run.holder)
            if by is not None or run.status not in ("done", "cancelled"):
                # Kept also if no process executes it: whoever ends it now may die in the midst of its clean-ups.
                self.put_run(connection, run, stop=now if run.stop is None else run.stop)
            return run, by

        run, by = self.journal.write((), operation)
        if by is not None:
            self.holder.nudge(by.token)
        return run, by

    def accept(self, rid: int) -> None:
        """Do not hold the records so far against the edited script."""

        def operation(connection: apsw.Connection) -> None:
            last = self._one(connection, "last_number", rid)[0]
            if last is not None:
                self.exempt_in(connection, rid, [(0, last)])

        self.journal.write((), operation)

    def _hold(self, connection: apsw.Connection, rid: int, start: Start, now: float) -> None:
        self._active[rid] = start.parent
        self._taken.append(rid)
        self.locks.join(connection, start.lock, rid, now)

    def _ended(self, committed: bool) -> None:
        """A transaction has ended; a rolled back one took nothing, and introduced no holder."""
        if not committed:
            for rid in self._taken:
                self._active.pop(rid, None)
                self._nudges.pop(rid, None)
        self._taken.clear()
        for path in self._spend_files if committed else ():
            path.unlink(missing_ok=True)
        self._spend_files.clear()
        if committed and self._rings:
            bell.ring(self.path)
        if committed and self._ends:
            bell.ring(self.path, bell.ENDS)
        self._rings = self._ends = False
        if self._met:
            import logging  # not for runs that enqueue nothing

            met, self._met = self._met, []
            for run in met if committed else ():
                logging.getLogger("perdure").warning("%s", one_line(queue.not_queued(run)))
        if committed:
            self.spend_file.shorten(self.journal.has_ahead)
        self.locks.ended(committed)
        self.holder.ended(committed)

    # -- what others may have taken over ------------------------------------------------------------------------------

    def check_sound(self, connection: apsw.Connection) -> None:
        """Take nothing more with a lock file that others do not see.

        Raises:
            LockLost: it was removed, or another process took this one for dead, while it executes something.
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
            "see which process has it with `perdure ps`; nothing more of it is saved here",
        )

    def lineage(self, rid: int) -> list[int]:
        """A run that this process executes, the run that it is a child of, and so on."""
        line = [rid]
        while (parent := self._active.get(line[-1])) is not None:
            line.append(parent)
        return line

    # -- what a run writes --------------------------------------------------------------------------------------------

    def nudge_at_begin(self, rid: int) -> int | None:
        """What `holder.nudges` was when a run was made that its end had not been asked for; None of any other run.

        It was read in the transaction that made the run: who asks for its end is later, and nudges after that.
        """
        return self._nudges.pop(rid, None)

    def stopping(self, rid: int) -> bool:
        """Has the end been asked for of the run, or of one that it is a child of?"""
        count: int = self._all("stopping", rid)[0][0]
        return count > 0

    def saving(self, effect: Save, now: float, terms: parking.Terms = parking.TERMS) -> Operation | None:
        """What has to be done besides writing the rows: some are marked or taken back, and dead letters are parked.

        The operation returns a parking.Parking.
        """
        plain = not effect.letters and not effect.drop and not effect.marks and effect.attempt is None
        if plain and effect.enqueue is None:
            return None
        rid = effect.rows[0][RUN]
        parked = [(rid, seq) for seq in effect.letters]
        faults = {row[SEQ]: row[OUTPUT] for row in effect.rows if row[SEQ] in effect.letters}

        def operation(connection: apsw.Connection) -> parking.Parking:
            for mark in effect.marks:
                added = {"lives": mark.lives, "keyed": mark.keyed}
                record = msgspec.structs.replace(self.record_in(connection, rid, mark.seq), **added)
                connection.execute(self._sql["mark_step"], (*added.values(), record.checksum(rid), rid, mark.seq))
            self._take_back(connection, rid, effect.drop, effect.aftermath)
            if effect.attempt is not None:
                self._add_attempt(connection, rid, effect.attempt)
            if effect.enqueue is not None:
                self._enqueue(connection, effect, now)
            return parking.park(connection, self.path, parked, faults, terms, now)

        return operation

    def _enqueue(self, connection: apsw.Connection, effect: Save, now: float) -> None:
        (id,) = queue.add(self, connection, [effect.enqueue], now, self._met)
        self._rings = True
        if id != effect.enqueue.id:
            rid, seq = effect.rows[-1][RUN], effect.rows[-1][SEQ]
            record = msgspec.structs.replace(
                self.record_in(connection, rid, seq), output=codec.pack_value(id, owner="the id of a run")
            ).sealed(rid)
            connection.execute(queue.PUT_OUTPUT, (record.output, record.crc, rid, seq))

    def enqueue(self, queued: Sequence[QueuedRun], now: float) -> Operation:
        """An operation that queues runs: returns their ids, in their order.

        It raises OtherInputs, before it has written anything, if an id stands for a run with other inputs.
        """

        def operation(connection: apsw.Connection) -> list[str]:
            ids = queue.add(self, connection, queued, now, self._met)
            self._rings = True
            return ids

        return operation

    def save_spending(self, spent: spending.Spent) -> None:
        """Write down, with what is written next, what an attempt has spent."""
        self.journal.ahead(*spending.put(self.holder.token, spent))
        self.spend_file.saved(spent.serial)

    def spending_saved(self, serial: int) -> None:
        """The record of a call has been saved that says what it has spent."""
        self.spend_file.saved(serial)
        self.spend_file.shorten(self.journal.has_ahead)

    def add_code(self, code: Code) -> None:
        """Write down, with what is written next, what is known of a function; once in a process."""
        if code.digest not in self._codes:
            self._codes.add(code.digest)
            self.journal.ahead(*functions.put(code))

    def batch(self, rid: int, number: int) -> BatchRow | None:
        """The map of that number of a run, as an earlier process has noted it."""
        found: list[BatchRow] = self.journal.read(lambda connection: batches.list_of(connection, rid, self.path))
        return next((one for one in found if one.number == number), None)

    def raise_bounds(self, rid: int, bounds: Bounds) -> None:
        """The budgets of a run may spend so much from now on, if that is more than they say."""
        self.journal.write((), lambda connection: spending.raise_bounds(connection, rid, bounds, self.path))

    def add_function(self, rid: int, record: FunctionRecord) -> None:
        """Write down, with what is written next, whose function a run calls under a name."""
        self.journal.ahead(self._sql["add_function"], (rid, *msgspec.structs.astuple(record.sealed(rid))))

    def attempt(self, rid: int, record: AttemptRecord) -> Operation:
        """An operation that writes down a failed attempt."""

        def operation(connection: apsw.Connection) -> None:
            if not self.holder.redrives(connection, rid):
                self.check_owned(connection, rid)
            self._add_attempt(connection, rid, record)

        return operation

    def _add_attempt(self, connection: apsw.Connection, rid: int, record: AttemptRecord) -> None:
        if len(record.input) > INLINE:
            given = pieces.keep(connection, rid, record.input)
            record = msgspec.structs.replace(record, input=given).sealed(rid)
        connection.execute(self._sql["add_attempt"], (rid, *msgspec.structs.astuple(record)))

    # -- in a transaction of another's ---------------------------------------------------------------------------------

    def standing_for(self, connection: apsw.Connection, id: str) -> RunRecord | None:
        """The run that an id stands for, the newest fork of it; None if there is none."""
        found = self._one(connection, "find_id", id)
        return None if found is None else self._newest(connection, self._run(connection, found[0]))

    def newest_of(self, connection: apsw.Connection, run: RunRecord) -> RunRecord:
        """The newest fork of a run; the run itself, if it was not forked."""
        return self._newest(connection, run)

    def exempt_in(self, connection: apsw.Connection, rid: int, stretches: Sequence[tuple[int, int]]) -> None:
        """Do not hold the records of these stretches against the script, each from a first to a last number.

        A stretch takes in those that lie within it.
        """
        connection.executemany(self._sql["widen_exempt"], [(rid, *stretch) for stretch in stretches])
        connection.executemany(self._sql["exempt"], [sealed(rid, *stretch) for stretch in stretches])

    def take_over(
        self,
        connection: apsw.Connection,
        run: RunRecord,
        start: Start,
        now: float,
        who: Asker,
        served: queue.Served | None = None,
    ) -> Taken | Held | Locked | Finished | Asleep:
        """Take a run that was read in this transaction, unless it has ended, or it or its lock is another's.

        `served` is what others have been taken with before, in the same transaction.
        """
        return self._take(connection, run, start, now, who, served)

    def insert_run(self, connection: apsw.Connection, run: RunRecord) -> RunRecord:
        """Add a run; returns it with its checksum. A run without a number gets the next one."""
        rid = run.rid or self._next_run(connection)
        run = msgspec.structs.replace(run, rid=rid, input=pieces.keep(connection, rid, run.input)).sealed()
        connection.execute(self._sql["add_run"], msgspec.structs.astuple(run))
        return run

    def put_run(
        self, connection: apsw.Connection, run: RunRecord, *, awaited: bool = True, **changed: Any
    ) -> RunRecord:
        """Change a run that was read in this transaction; returns it as it is now.

        An end makes ready who waits for it, unless it is known that there are no waits (`awaited`).
        """
        if changed.get("output") is not None:
            changed["output"] = pieces.keep(connection, run.rid, changed["output"])
        if "holder" in changed:  # while a process executes it, the number changes with each record
            changed["steps"] = self.steps_in(connection, run.rid) if changed["holder"] is None else None
        before, run = run, msgspec.structs.replace(run, **changed).sealed()
        if run.status != before.status or (run.holder is None and before.holder is not None):
            self._ends = True
        row = (run.path, run.parent, run.status, run.holder, run.epoch, run.output, run.started, run.ended, run.stop)
        more = (run.forked_at, run.forked_last, run.superseded_by, run.stopped, run.timed_from, run.wake, run.hold)
        queued = (run.queue, run.priority, run.turn)
        connection.execute(self._sql["put_run"], (*row, *more, *queued, run.steps, run.crc, run.rid))
        if awaited and changed.get("status") in awaited_ends.ENDED:
            self._rings = awaited_ends.run_ends(self, connection, run) or self._rings
        return run

    def next_run_in(self, connection: apsw.Connection) -> int:
        """The number of the next run."""
        return self._next_run(connection)

    def find_in(self, connection: apsw.Connection, id: str) -> RunRecord | None:
        """The run of that id, as it is stored."""
        found = self._one(connection, "find_id", id)
        return None if found is None else self._run(connection, found[0])

    def _next_run(self, connection: apsw.Connection) -> int:
        rid: int = self._one(connection, "next_run")[0]
        return rid

    def take_back(self, connection: apsw.Connection, rid: int, seqs: Sequence[int]) -> None:
        """Take back what was undone; what came after it is not held against the script, which makes it again."""
        if seqs:
            (last,) = self._one(connection, "last_number", rid)
            self._take_back(connection, rid, seqs, (min(seqs) + 1, last) if min(seqs) < last else None)

    def add_row(self, connection: apsw.Connection, row: Row) -> None:
        """Add a record to a run that is not executed."""
        run = self._run(connection, row[RUN])
        lent = self.put_run(connection, run, holder=self.holder.known)  # only who holds a run adds records to it
        self.insert_row(connection, row)
        self.put_run(connection, lent, holder=run.holder)

    def insert_row(self, connection: apsw.Connection, row: Row) -> None:
        """Add a record to a run that this process executes."""
        used = pieces.artifacts_of([row]) if artifact_names.seen else ()
        (row,), needed, files = pieces.set_apart([row])
        for _, _, payload in files:
            artifacts.keep(artifacts.folder_of(self.path), payload)
        pieces.use_artifacts(connection, [*used, *((rid, name) for rid, name, _ in files)])
        pieces.add(connection, needed)
        self.insert_rows(connection, [row])

    def insert_rows(self, connection: apsw.Connection, rows: Sequence[Row]) -> None:
        """Add records as they are stored, with no more than they say."""
        for row in rows:
            connection.execute(self._insert[len(row)], row)

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self.spend_file.close(pending=self.journal.has_ahead)
        self.journal.close()
        self.holder.close()


def _is_ready(run: RunRecord, start: Start, now: float) -> bool:
    """Is a suspended run to be gone on with: is it due soon, or was its script edited since it was taken last?"""
    if start.patience == float("inf") or (run.wake is not None and run.wake - now <= start.patience):
        return True
    try:
        return os.stat(start.path).st_mtime > run.started
    except OSError:
        return False
