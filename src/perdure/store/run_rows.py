"""The rows of runs and of their records, as they are written in a transaction: the writing side below the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.execution.run_effects import Start
from perdure.core.records import KIND, RUN, WIDTH, Row, RunRecord, is_time
from perdure.core.values import artifact_names
from perdure.errors import LockLost, OptionError
from perdure.store import artifacts, bell, database, pieces, sessions
from perdure.store.given_up_waits import GivenUpWaits
from perdure.store.group_commit import Journal
from perdure.store.holders import Holder
from perdure.store.locks import Locks
from perdure.store.rows import ENDED, sealed
from perdure.store.run_queries import RunQueries
from perdure.store.spend_file import SpendFile
from perdure.store.statements import load


class RunRows(RunQueries):
    """The rows of one state file, in the transactions of one process.

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
        super().__init__(
            path, sql, Journal(connection, path, self._insert, self._ended), Holder(path, sql, looks=read_only)
        )
        # SQLite's limit holds for a row as a whole, with its other columns.
        limit = connection.limit(apsw.SQLITE_LIMIT_LENGTH)
        self.largest = limit - min(limit // 16, 65_536)
        self.spend_file = SpendFile(path)
        self._spend_files: list[Path] = []  # of dead processes, taken over in the transaction under way
        self.locks = Locks(
            path, self.holder, lambda connection, rid: (self._run(connection, rid), self._last(connection, rid))
        )
        self.given_up_waits = GivenUpWaits()
        self._holds: dict[int, str] = {}  # why runs were on hold that this process has taken since
        self._active: dict[int, int | None] = {}  # what this process executes, and whose children those runs are
        self.noted: set[tuple[str, ...]] = set()  # workflows and scripts beside which unfinished runs were looked for
        self.described: set[str] = set()  # scripts whose workflows are written down
        self.defaults: dict[tuple[str, str], dict[str, bytes]] = {}  # of workflows of scripts
        self.of_before: dict[Any, Any] = {}  # see engines/local/runs_of_before.py
        self._as_taken: dict[int, tuple[RunRecord, sessions.Row | None]] = {}  # as their rows were written then
        self._taken: list[int] = []  # in the transaction under way
        self.done_first: set[int] = set()
        """Runs that were done before a safe point at which they would have ended, as was asked for."""
        self._nudges: dict[int, int] = {}  # of new runs: what `holder.nudges` was in the transaction that made them
        self._rings = False  # in the transaction under way: it makes a run ready, which a worker waits for
        self._room = Counter[str]()  # by queue: how many runs have left it, in the transaction under way
        self.claims_next = False  # a run that is over is followed by a claim of this process
        self._ends = False  # it has changed how a run stands, or has let go of one
        self._codes: set[bytes] = set()  # functions that this process has written down
        self._unsaid: dict[str, bytes] = {}  # why runs were stopped, for which there was no room on the disk
        self._met: list[RunRecord] = []  # it has met runs that have ended, and whose ids were enqueued

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

    def publish_again_in(self, connection: apsw.Connection, rid: int, stretches: Sequence[tuple[int, int]]) -> None:
        """Have what was published in these stretches published again by the next life.

        It may be made of results that are others then, and is no input by which that would be seen.
        """
        connection.executemany(self._sql["drop_publishings"], [(rid, *stretch) for stretch in stretches])

    def insert_run(self, connection: apsw.Connection, run: RunRecord) -> RunRecord:
        """Add a run; returns it with its checksum. A run without a number gets the next one."""
        if not run.rid:
            run = msgspec.structs.replace(run, rid=self._next_run(connection))
        run = _to_be_added(connection, run).sealed()
        connection.execute(self._sql["add_run"], msgspec.structs.astuple(run))
        return run

    def insert_runs(self, connection: apsw.Connection, runs: Sequence[RunRecord]) -> None:
        """Add runs that have numbers."""
        connection.executemany(self._sql["add_run"], [_to_be_added(connection, run).row() for run in runs])

    def keep_defaults(self, connection: apsw.Connection, start: Start) -> None:
        """Keep the defaults of a workflow of which a run is made, if that is still to be done."""
        if start.defaults is not None:
            from perdure.store import workflow_defaults

            workflow_defaults.keep(connection, start.script, start.workflow, start.defaults)
            self.defaults.pop((start.script, start.workflow), None)

    def put_run(
        self, connection: apsw.Connection, run: RunRecord, *, awaited: bool = True, **changed: Any
    ) -> RunRecord:
        """Change a run that was read in this transaction; returns it as it is now.

        An end makes ready who waits for it, unless it is known that there are no waits (`awaited`). Where a run leaves
        room in its queue, the workers are told.
        """
        if not changed:
            return run
        if changed.get("output") is not None:
            changed["output"] = pieces.keep(connection, run.rid, changed["output"])
        if "holder" in changed and "steps" not in changed:  # while a process executes it, it changes with each record
            changed["steps"] = self.steps_in(connection, run.rid) if changed["holder"] is None else None
        before, run = run, msgspec.structs.replace(run, **changed).sealed()
        if run.wake is not None:
            _refuse_what_no_date_shows(run)
        if run.queue is not None and "running" in (before.status, run.status) and before.status != run.status:
            self._room[run.queue] += 1 if before.status == "running" else -1
            if not self.claims_next:
                self.tell_of_room(connection)
        if run.status != before.status or (run.holder is None and before.holder is not None):
            self._ends = True
        statement = _writing(self._sql["put_run"], tuple(changed))
        connection.execute(statement, (*changed.values(), run.crc, run.rid))
        if awaited and changed.get("status") in ENDED:
            from perdure.store import awaited_ends

            self._rings = awaited_ends.run_ends(self, connection, run) or self._rings
        return run

    def tell_of_room(self, connection: apsw.Connection) -> None:
        """Who claims is told of queues that runs have left in this transaction, if others wait there."""
        left = [queue for queue, room in self._room.items() if room > 0]
        self._rings = self._rings or any(self._one(connection, "waits_in_queue", queue) for queue in left)

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
            self.publish_again_in(connection, rid, [(min(seqs) + 1, last)])

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

    def _take_back(
        self, connection: apsw.Connection, rid: int, seqs: Sequence[int], aftermath: tuple[int, int] | None
    ) -> None:
        if seqs:
            from perdure.store import set_aside  # most runs take nothing back

            for seq in seqs:
                if not set_aside.put(self, connection, rid, seq):
                    connection.execute(self._sql["drop_step"], (rid, seq))
        if aftermath is not None:
            self.exempt_in(connection, rid, [aftermath])

    # -- what others may have taken over -------------------------------------------------------------------------------

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

    def _taken_over(self, id: str) -> LockLost:
        return LockLost(
            f"run {id} was taken over by another process",
            "see which process has it with `perdure ps`; nothing more of it is saved here",
        )

    # -- the end of a transaction, and of the process ------------------------------------------------------------------

    def _ended(self, committed: bool) -> None:
        """A transaction has ended; a rolled back one took nothing, and introduced no holder."""
        if not committed:
            for rid in self._taken:
                self._active.pop(rid, None)
                self._as_taken.pop(rid, None)
                self._nudges.pop(rid, None)
        self._taken.clear()
        if self._room:
            self._room.clear()
        for path in self._spend_files if committed else ():
            path.unlink(missing_ok=True)
        self._spend_files.clear()
        if committed and (self._rings or self.locks.rings):
            bell.ring(self.path)
        if committed and self._ends:
            bell.ring(self.path, bell.ENDS)
        self._rings = self._ends = False
        if self._met:
            import logging  # not for runs that enqueue nothing

            from perdure.core.redaction.printable import one_line
            from perdure.store import queue

            met, self._met = self._met, []
            for run in met if committed else ():
                logging.getLogger("perdure").warning("%s", one_line(queue.not_queued(run)))
        self.locks.ended(committed)
        self.holder.ended(committed)

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self.journal.close()
        if self._unsaid:  # the write-ahead log is gone, which may be what had filled the disk
            from perdure.store import stop_notes

            for run, stopped in self._unsaid.items():
                stop_notes.put(self.path, run, stopped)
        self.spend_file.close()
        self.holder.close()


def _to_be_added(connection: apsw.Connection, run: RunRecord) -> RunRecord:
    """A new run as it is stored; what of its input is kept apart is stored already."""
    if run.wake is not None:
        _refuse_what_no_date_shows(run)
    given = pieces.keep(connection, run.rid, run.input)
    return run if given is run.input else msgspec.structs.replace(run, input=given)


def _refuse_what_no_date_shows(run: RunRecord) -> None:
    """What could not be read again is not written."""
    if not is_time(run.wake):
        raise OptionError(f"run {run.id} is to go on at a time that no date can show", "give one before the year 10000")


@cache
def _writing(statement: str, columns: tuple[str, ...]) -> str:
    """The statement that writes these columns: SQLite writes each index anew of which one is named, changed or not."""
    return statement.replace(":columns", ", ".join(f"{each} = ?" for each in columns))
