"""The store: runs, steps, attempts and dead letters, read and written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from perdure.core.exceptions import capture
from perdure.core.execution.effects import Save
from perdure.core.execution.run_effects import End, Forget, HolderInfo, Locked, Reopen, Start
from perdure.core.execution.spending import Bounds
from perdure.core.function_code import Code
from perdure.core.records import (
    KIND,
    NOTED,
    OUTPUT,
    RUN,
    SEQ,
    AttemptRecord,
    FunctionRecord,
    Row,
    RunRecord,
    StepStatus,
    ending_note,
)
from perdure.core.values import codec
from perdure.core.values.pieces import INLINE
from perdure.errors import OtherInputs, StateError
from perdure.store import code as functions
from perdure.store import parking, pieces, sessions, spending
from perdure.store.group_commit import Operation
from perdure.store.locks import Asker
from perdure.store.rows import GONE_ON_WITH
from perdure.store.run_begin import RunBegin, queues
from perdure.store.spend_file import Noted

if TYPE_CHECKING:
    from perdure.config.kept_command_line import CommandLine
    from perdure.core.execution.queueing import QueuedRun
    from perdure.core.execution.root_cause import RootCause
    from perdure.core.policies.verdicts import Stop
    from perdure.store.batches import BatchRow
    from perdure.store.lives import Cut


class Store(RunBegin):
    """One state file, as one process uses it.

    Args:
        path: the state file; made if missing.
        read_only: for looking only.
        vfs: a registered SQLite VFS, for tests that inject faults.

    Raises:
        StateError: the file cannot be used; it is left as it was.
    """

    # -- how runs end, and are let go ----------------------------------------------------------------------------------

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
            crc, *beside = self._one(connection, "beside", run.rid)
            taken, session = self._as_taken.get(run.rid, (None, None))
            found = taken if taken is not None and taken.crc == crc else self._run(connection, run.rid)
            if not self.holder.has(connection, found):
                raise self._taken_over(run.id)
            # One that can be gone on with is still to end, if that was asked for.
            stop = found.stop if status in GONE_ON_WITH else None
            changed = {"status": status, "output": output, "ended": now, "holder": None, "stop": stop, "epoch": epoch}
            changed["stopped"] = effect.stopped
            if status == "done" and found.stop is not None:
                self.done_first.add(run.rid)
            if effect.left:
                self._note_left_behind(connection, run, effect.left, now)
            if effect.forget or effect.aftermath is not None:
                self._take_back(connection, run.rid, effect.forget, effect.aftermath)
                _, *beside = self._one(connection, "beside", run.rid)
            if effect.aftermath is not None and status in GONE_ON_WITH:
                self.publish_again_in(connection, run.rid, [effect.aftermath])
                self.given_up_waits.restore(connection, run.rid, effect.aftermath)
            crashed, waits, letter, follows, changed["steps"] = beside
            self._rings = self._rings or follows == 1  # a run of a schedule, after which the next one begins
            self.put_run(connection, found, awaited=waits or found.forked_from is not None, **changed)
            sessions.end(connection, found, status, now, session)
            self.locks.leave(connection, run.rid)
            if crashed:
                connection.execute(self._sql["forget_crashes"], (run.rid,))
            if status == "done" and letter:
                parking.run_done(connection, self.path, run.rid, now)
            if status == "cancelled":
                from perdure.store import due_letters

                due_letters.cancelled(self, connection, run.rid, now)
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

    def reopen(self, effect: Reopen, now: float) -> Operation:
        """An operation that lets a child run that is done be undone, as it notes: returns False if it is not done.

        Its records in the parent go with it, and so does that of the calls that it had deferred, which are due again.
        """
        parent, child = effect.run, effect.child

        def operation(connection: apsw.Connection) -> bool:
            self.check_owned(connection, parent.rid, parent.id)
            assert child.start.rid is not None
            run = self._run(connection, child.start.rid)
            if run.status != "done" or run.parent != parent.rid:
                return False
            self.take_back(connection, parent.rid, child.seqs)
            if effect.again:
                from perdure.store import due_letters

                due_letters.undone_with_its_parent(self, connection, run.rid, now)
            unfinished: dict[str, Any] = {"status": "running", "holder": None, "output": None, "ended": None}
            unfinished["timed_from"] = None
            self.put_run(connection, run, **unfinished)
            (last,) = self._one(connection, "last_number", run.rid)
            self.add_row(connection, ending_note(run.rid, last + 1, effect.ending))
            return True

        return operation

    def let_go(self, run: RunRecord) -> None:
        """This process runs it no more."""
        self.given_up_waits.forget(run.rid)
        self.locks.forget(run.rid)
        self._active.pop(run.rid, None)
        self._as_taken.pop(run.rid, None)
        self._holds.pop(run.rid, None)

    def has_taken(self) -> bool:
        """Does this process execute a run?"""
        return bool(self._active)

    def taken_for(self, start: Start) -> list[RunRecord]:
        """The run that this process has taken for such a start, and the child runs of it, the deepest first."""
        found: list[RunRecord] = []
        for rid in reversed(list(self._active)):
            line = [rid]
            while (parent := self._active.get(line[-1])) is not None:
                line.append(parent)
            root = self.run_by_number(line[-1])
            alike = (root.workflow, root.script, root.key) == (start.workflow, start.script, start.key)
            if start.rid in line or root.id == start.id or (start.id is None and alike):
                found.append(self.run_by_number(rid))
        return found

    def release(
        self,
        run: RunRecord,
        now: float,
        stop: Stop | None = None,
        cut: Sequence[Cut] = (),
        cause: RootCause | None = None,
        *,
        keep: bool = False,
        code: str = "",
    ) -> None:
        """The run was stopped without having ended: let it go, and say why, beside the file if not in it.

        Args:
            run: which.
            now: when.
            stop: what has stopped it; None if that is not kept.
            cut: the calls in whose middle that was.
            cause: the failures that it was left for, whose records are taken back.
            keep: the file says on that this process has it, which gives it back next. A run that nobody has was stopped
                by a person, and no worker takes it: so would be one whose worker dies before it has given it back.
            code: of the error of ours that has stopped it; a run that was on hold for such a one is on hold again.
        """
        from perdure.core.policies.verdicts import pack_stop

        stopped = None if stop is None else pack_stop(stop)

        def operation(connection: apsw.Connection) -> None:
            from perdure.store import lives

            found = self._run(connection, run.rid)
            if found.holder == self.holder.hid(connection, now):
                if cause is not None:
                    self._take_back(connection, run.rid, cause.records, cause.aftermath)
                changed: dict[str, Any] = {"stopped": stopped} if keep else {"stopped": stopped, "holder": None}
                hold = self._holds.get(run.rid, "")
                if code and not keep and hold.partition(" ")[2].startswith(f"{code}: "):
                    changed |= {"status": "suspended", "wake": now, "hold": hold}
                self.put_run(connection, found, **changed)
                sessions.end(connection, found, sessions.INTERRUPTED, now)
            self.locks.leave(connection, run.rid)
            lives.add(connection, run.rid, self.holder.token, cut, now)

        try:
            self.journal.write((), operation)
        except StateError:
            if stopped is not None:
                self._say_beside(run, stopped)
        self.let_go(run)

    def not_ended(self, run: RunRecord, stop: Stop) -> None:
        """The end of a run cannot be written: let it go, and say why beside the file."""
        from perdure.core.policies.verdicts import pack_stop

        self._say_beside(run, pack_stop(stop))
        self.let_go(run)

    def _say_beside(self, run: RunRecord, stopped: bytes) -> None:
        from perdure.store import stop_notes

        if not stop_notes.put(self.path, run.id, stopped):
            self._unsaid[run.id] = stopped

    def note(self, run: RunRecord, about: bytes, fault: bytes, now: float) -> None:
        """Keep with a run what it has done unsaved; the newest note about each thing (16 bytes) counts."""
        with suppress(StateError):
            self.journal.write((), lambda connection: self._put_note(connection, run, about, fault, now))

    def _put_note(self, connection: apsw.Connection, run: RunRecord, about: bytes, fault: bytes, now: float) -> None:
        note = AttemptRecord(run.epoch, NOTED, about, 0, 1, False, b"", fault, now, 0, 0).sealed(run.rid)
        connection.execute(self._sql["put_note"], (run.rid, *msgspec.structs.astuple(note)))

    def _note_left_behind(
        self, connection: apsw.Connection, run: RunRecord, calls: Sequence[tuple[int, str]], now: float
    ) -> None:
        from perdure.core import run_notes

        fault = capture.encode(capture.to_fault(run_notes.Remark(run_notes.left_behind(run.id, calls))))
        self._put_note(connection, run, codec.digest(b"left behind"), fault, now)

    def ask_to_stop(self, id: str, now: float) -> tuple[RunRecord, HolderInfo | None]:
        """Ask the process that executes a run to end it; returns the run as it was, and that process, or None.

        Raises:
            NotFound: there is none.
            AlreadyRunning: no process executes it, and a dead letter of it is being re-driven.
        """
        rid = self.run(id).rid

        def operation(connection: apsw.Connection) -> tuple[RunRecord, HolderInfo | None]:
            run = self._run(connection, rid)
            by = None if run.holder is None else self.holder.living(connection, run.holder)
            if by is not None or run.status not in ("done", "cancelled"):
                from perdure.core.execution.already_running import being_redriven
                from perdure.store import due_letters

                if by is None and (redriven := due_letters.redriven(self, connection, rid)) is not None:
                    raise being_redriven(*redriven, f"cancel run {id}")
                # Kept also if no process executes it: whoever ends it now may die in the midst of its clean-ups.
                self.put_run(connection, run, stop=now if run.stop is None else run.stop)
            return run, by

        run, by = self.journal.write((), operation)
        if by is not None:
            self.holder.nudge(by.token)
        return run, by

    def accept(self, rid: int) -> None:
        """Do not hold the records so far against the edited script, those of child runs included."""

        def operation(connection: apsw.Connection) -> None:
            for one in self.family_in(connection, rid):
                last = self._one(connection, "last_number", one)[0]
                if last is not None:
                    self.exempt_in(connection, one, [(0, last)])
                    self.publish_again_in(connection, one, [(0, last)])

        self.journal.write((), operation)

    def enter(self, name: str, who: Asker, now: float) -> Operation:
        """An operation that takes a lock for a block: returns its fence, or Locked."""
        enter = self.locks.enter(name, who, now)

        def operation(connection: apsw.Connection) -> int | Locked:
            self.check_sound(connection)
            fence: int | Locked = enter(connection)
            return fence

        return operation

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
        if plain and not effect.enqueue and effect.aftermath is None:
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
            if effect.aftermath is not None and effect.rows[0][KIND] == "undone":
                self.publish_again_in(connection, rid, [effect.aftermath])
            if effect.attempt is not None:
                self._add_attempt(connection, rid, effect.attempt)
            if effect.enqueue:
                self._enqueue(connection, effect, now)
            return parking.park(connection, self.path, parked, faults, terms, now, effect.edited)

        return operation

    def _enqueue(self, connection: apsw.Connection, effect: Save, now: float) -> None:
        rows = effect.rows[-len(effect.enqueue) :]
        try:
            ids = queues().add(self, connection, effect.enqueue, now, self._met)
        except OtherInputs as refusal:  # nothing was queued, and that is what the workflow is told in each life
            for row in rows:
                self._put_end(connection, row, "failed", capture.encode(capture.to_fault(refusal)))
            return
        self._rings = True
        for id, queued, row in zip(ids, effect.enqueue, rows, strict=True):
            if id != queued.id:
                self._put_end(connection, row, "done", codec.pack_value(id, owner="the id of a run"))

    def _put_end(self, connection: apsw.Connection, row: Row, status: StepStatus, output: bytes) -> None:
        """A record of this transaction has another end than was expected."""
        rid, seq = row[RUN], row[SEQ]
        record = self.record_in(connection, rid, seq)
        record = msgspec.structs.replace(record, status=status, output=output).sealed(rid)
        connection.execute(self._sql["put_end"], (status, output, record.crc, rid, seq))

    def enqueue(self, queued: Sequence[QueuedRun], now: float) -> Operation:
        """An operation that queues runs: returns their ids, in their order.

        It raises OtherInputs, before it has written anything, if an id stands for a run with other inputs.
        """

        def operation(connection: apsw.Connection) -> list[str]:
            ids: list[str] = queues().add(self, connection, queued, now, self._met)
            self._rings = True
            return ids

        return operation

    def save_spending(self, noted: Noted) -> None:
        """Write down, with what is written next, what an attempt has spent."""
        self.journal.ahead(*spending.put(self.holder.token, noted.spent), then=noted.saved)

    def command_line(self, run: RunRecord) -> CommandLine | None:
        """The command line for which the script of a run is loaded; None if it was given nothing, or that is not known.

        Raises:
            StateError: the file cannot be read.
        """
        from perdure.store import command_lines

        found: CommandLine | None = self.journal.read(
            lambda connection: command_lines.get(connection, self.root_in(connection, run.rid).rid, self.path)
        )
        return found

    def add_code(self, code: Code) -> None:
        """Write down, with what is written next, what is known of a function; once in a process."""
        if code.digest not in self._codes:
            self._codes.add(code.digest)
            self.journal.ahead(*functions.put(code))

    def batch(self, rid: int, number: int) -> BatchRow | None:
        """The map of that number of a run, as an earlier process has noted it."""
        from perdure.store import batches

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
