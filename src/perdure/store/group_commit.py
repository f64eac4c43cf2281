"""Group commit: one connection writes for the whole process, and all that wait share its fsync.

A caller that finds the writer idle commits at once, for itself and for all that wait: a caller that is alone
pays no thread hop. While a commit is on its way to the disk, newcomers queue up; the next commit takes all of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import apsw

from perdure.config.os_errors import named
from perdure.core.records import INPUT, OUTPUT
from perdure.core.values import artifact_names
from perdure.core.values.pieces import INLINE
from perdure.errors import LockLost, NotStorable, PerdureError, StateCorrupt, StateError, StateIO, StateReplaced
from perdure.store import artifacts, pieces
from perdure.store.checkpoints import Checkpoints
from perdure.store.connection import keep_journal
from perdure.store.sqlite_errors import translate, translated
from perdure.store.watch import Watch
from perdure.store.write_turns import WriteTurns

Operation = Callable[[apsw.Connection], Any]
"""Something to do inside the transaction. What it returns, or the PerdureError it raises before it has written
anything, is handed to the caller."""

_Ahead = tuple[str, tuple[Any, ...], Callable[[], None] | None]

AT_ONCE = 64
"""Rows in one statement."""


class Entry:
    """Something to be committed: rows for the step table, an operation, or both (rows first)."""

    __slots__ = (
        "artifacts",
        "done",
        "error",
        "files",
        "left",
        "operation",
        "pieces",
        "refused",
        "result",
        "rows",
        "several",
        "wake",
    )

    def __init__(self, rows: Sequence[tuple[Any, ...]], operation: Operation | None = None) -> None:
        self.rows = rows
        self.pieces: pieces.Pieces = []
        self.files: pieces.Files | tuple[()] = ()
        for row in rows:
            if len(row[INPUT]) > INLINE or len(row[OUTPUT]) > INLINE:
                self.rows, self.pieces, self.files = pieces.set_apart(rows)
                break
        self.artifacts: Sequence[tuple[int, str]] = pieces.artifacts_of(rows) if artifact_names.seen else ()
        if self.files:
            self.artifacts = [*self.artifacts, *((rid, name) for rid, name, _ in self.files)]
        self.operation = operation
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.refused = False  # because of its own rows
        self.wake: threading.Lock | None = None
        self.several = False  # its rows are those of several callers
        self.left = False  # its thread waits no more

    def rouse(self) -> None:
        """Wake the thread that waits for this entry, if one does."""
        if self.wake is not None:
            # RuntimeError: it is awake already and has not yet gone back to sleep.
            with suppress(RuntimeError):
                self.wake.release()

    def outcome(self) -> Any:
        """What the operation returned.

        Raises:
            StateError: the commit failed.
        """
        if self.error is not None:
            raise self.error
        return self.result


class _Refused(Exception):
    """An operation has refused what its rows say: neither is written."""

    def __init__(self, refusal: PerdureError) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class Journal:
    """The one write connection of a process to one state file.

    Args:
        connection: opened for writing; used by one thread at a time, under the journal's lock.
        path: for messages.
        insert: the statement that adds one row to the step table, by how many columns that has.
        on_end: called after each transaction that held an operation, under the lock, with whether it was committed.

    `around` is called before each commit and after it, with whether it is done: where a process that dies loses or
    keeps something. Tests set it.
    """

    def __init__(
        self, connection: apsw.Connection, path: Path, insert: Mapping[int, str], on_end: Callable[[bool], None]
    ) -> None:
        self._connection = connection
        self._path = path
        self._artifacts = artifacts.folder_of(path)
        self._watch = Watch(path, connection)
        self._turns = WriteTurns(path)
        self._checkpoints = Checkpoints(path, connection, self._watch)
        self._insert = insert
        self._inserts: dict[tuple[int, int], str] = {}  # by how many columns and rows
        self._on_end = on_end
        self._writer = threading.Lock()
        # Who has the connection, or is about to. Not asked of the lock: that says that it is free while the thread that
        # has got it waits for the interpreter, so all others would line up for it, and not with what they write.
        self._at_work: object | None = None
        self._served: deque[Entry] = deque()  # committed; their threads are still to be woken
        self._waiting: deque[Entry] = deque()
        self._broken: StateError | None = None
        self._ahead: deque[_Ahead] = deque()
        self._forked: StateError | None = None
        self._closed = False
        self.around: Callable[[Sequence[Entry], bool], None] | None = None

    def write(self, rows: Sequence[tuple[Any, ...]], operation: Operation | None = None) -> Any:
        """Make rows and an operation durable; returns after the fsync.

        Raises:
            StateError: nothing of it was saved.
        """
        entry = Entry(rows, operation)
        if self._at_work is None:
            self._lead((entry,))
        else:
            self._waiting.append(entry)
        if not entry.done:
            self._wait(entry)
        if entry.error is not None:
            raise entry.error
        return entry.result

    def ahead(self, statement: str, values: tuple[Any, ...], then: Callable[[], None] | None = None) -> None:
        """Carry out a statement at the beginning of the next transaction, whoever's it is.

        Args:
            statement: in SQL.
            values: of its parameters.
            then: called once that transaction is committed, under the lock; must not raise.
        """
        self._ahead.append((statement, values, then))

    def write_all(self, entries: Sequence[Entry]) -> None:
        """Make many callers' entries durable in one commit; each holds its own outcome afterwards."""
        self._lead(entries)
        for entry in entries:
            if not entry.done:
                self._wait(entry)

    def write_together(self, rows: Sequence[tuple[Any, ...]]) -> Entry | None:
        """Make rows of many callers durable in one commit.

        Returns:
            The one entry, which holds the outcome for all; None: nothing was tried, or one of the rows was refused and
            nothing saved. `write_all` does it then, and says whose that is.
        """
        if self.around is not None or self._waiting or self._at_work is not None:
            return None
        entry = Entry(rows)
        entry.several = len(rows) > 1
        self._lead((entry,))
        if not entry.done:
            self._wait(entry)
        return None if entry.refused else entry

    def read(self, question: Operation) -> Any:
        """Ask the connection something, between commits.

        Raises:
            StateError: the file could not be read.
        """
        if self._forked is not None:
            raise self._forked
        me = object()
        try:
            try:
                self._at_work = me
                with self._writer, translated(self._path):
                    return question(self._connection)
            except UnicodeDecodeError as error:  # flipped bytes in a text
                raise translate(apsw.CorruptError(str(error)), self._path) from error
            finally:
                if self._at_work is me:
                    self._at_work = None
        finally:
            if self._at_work is me:
                self._at_work = None
            self._hand_over()  # those that queued up while we were reading must not wait for ever, also after an error

    def close_in_child(self) -> None:
        """After a fork: the connection is the parent's, and a lock that another thread held is never free again."""
        self._writer = threading.Lock()
        self._at_work = None
        self._served = deque()
        self._waiting = deque()
        self._ahead = deque()
        self._turns.close_in_child()
        self._broken = self._forked = StateError(
            f"this process was forked from one that had the state file open, and cannot use it: {self._path}",
            "read and save in the process that executes the run; what is read before the fork can be used after it",
        )

    def close(self) -> None:
        """Close the connection; the last one to a file checkpoints it, if it is as it was left. Twice does no harm."""
        with self._writer:
            if self._closed:
                return
            self._closed = True
            trouble = self._broken if isinstance(self._broken, StateReplaced | StateCorrupt) else None
            if trouble is None and self._forked is None and not self._connection.readonly("main"):
                trouble = self._watch.trouble()
                if trouble is not None:
                    import logging

                    logging.getLogger("perdure").warning("%s", trouble)
            if trouble is not None:
                keep_journal(self._connection)
            self._connection.close()
            self._turns.close()

    def _wait(self, entry: Entry) -> None:
        """Until an entry that has been queued is committed; commit it, with all others, if nobody does."""
        entry.wake = wake = threading.Lock()
        wake.acquire()
        try:
            while not entry.done:
                # Who was at work may have left between our two looks: who is in the queue has to look again.
                if self._at_work is not None:
                    wake.acquire()
                else:
                    self._lead()
        finally:  # also if a signal's handler raises: those behind would wait for ever
            entry.left = True
            if not entry.done:  # it may have been woken to lead
                self._hand_over()
            self._rouse_next()

    def _lead(self, more: Sequence[Entry] = ()) -> None:
        """Commit what is waiting, and these."""
        batch: list[Entry] = []
        waiting = self._waiting
        try:
            try:
                self._at_work = batch
                waiting.extend(more)  # now: if this thread has to line up, another one takes them along
                with self._writer:
                    while waiting:
                        batch.append(waiting[0])  # first: it is not to be lost in between
                        waiting.popleft()
                    if batch:
                        self._commit(batch)
                        for entry in batch:
                            entry.done = True
            except BaseException as error:  # a signal's handler has raised something: nobody may wait for ever
                for entry in batch:
                    entry.error = entry.error or error
                for entry in (*batch, *more):  # nobody waits for it any more: it is not to be committed later
                    with suppress(ValueError):
                        waiting.remove(entry)
                raise
            finally:
                if self._at_work is batch:
                    self._at_work = None
        finally:
            if self._at_work is batch:  # Ctrl-C came between the two lines above
                self._at_work = None
            for entry in batch:
                entry.done = True
                if entry.wake is not None:
                    self._served.append(entry)
            if waiting:
                self._hand_over()
            if self._served:
                self._rouse_next()

    def _rouse_next(self) -> None:
        """Wake one of those whose entries are committed; it wakes the next one as soon as it is awake.

        All at once, they would take the interpreter from each other, several times in each step.
        """
        served = self._served
        while served:
            try:
                entry = served[0]
                entry.rouse()
                served.remove(entry)  # last: it is not to be lost in between
            except (IndexError, ValueError):  # another thread has woken it
                continue
            if not entry.left:
                return

    def _hand_over(self) -> None:
        """Wake one of those who queued up meanwhile, to lead the next commit."""
        if self._waiting:
            for entry in list(self._waiting):
                entry.rouse()
                if not entry.left:
                    return

    def _commit(self, batch: Sequence[Entry]) -> None:
        if self._broken is not None:
            for entry in batch:
                entry.error = self._broken
            return
        try:
            first = batch[0]
            self._watch.look(always=first.several or len(batch) > 1 or first.operation is not None)
            if self.around is None:
                self._in_turn(batch)
            else:
                self.around(batch, False)
                self._in_turn(batch)
                self.around(batch, True)
            if self._checkpoints.due:
                self._broken = self._checkpoints.play()
        except StateReplaced as error:
            self._broken = error
            for entry in batch:
                entry.error = error
        except (_Refused, UnicodeDecodeError, apsw.ConstraintError, apsw.TooBigError) as error:
            # Nothing was written. What one of them did wrong must not make the others suffer.
            if len(batch) > 1:
                for entry in batch:
                    self._commit((entry,))
            else:
                batch[0].error = error.refusal if isinstance(error, _Refused) else self._fault_of_one(error)
                batch[0].refused = True
        except apsw.Error as error:
            failure = self._watch.trouble() or translate(error, self._path)
            if isinstance(failure, StateIO | StateCorrupt | StateReplaced):
                # After a failed fsync the page cache lies (fsyncgate): nothing more is written through this connection.
                self._broken = failure
            for entry in batch:
                entry.error = failure
        except OSError as error:  # of a file beside the state file, looked at inside the transaction
            for entry in batch:
                entry.error = error if isinstance(error, PerdureError) else named(error, self._path)
        except BaseException as error:  # noqa: BLE001  those that wait must hear of it
            for entry in batch:
                entry.error = error

    def _fault_of_one(self, error: UnicodeDecodeError | apsw.Error) -> PerdureError:
        """What an entry is told that cannot be committed, though others can."""
        if isinstance(error, UnicodeDecodeError):  # an operation has read a text that was damaged
            return translate(apsw.CorruptError(str(error)), self._path)
        if isinstance(error, apsw.TooBigError):
            return NotStorable(
                f"a record is larger than the state file can hold: {self._path} ({error})",
                "keep large data in a file, and pass or return its path",
            )
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_CONSTRAINT_TRIGGER:  # the fence (store/sql/fencing.sql)
            return LockLost(
                f"a run of this process was taken over by another one: {self._path}",
                "see which process has it with `perdure ps`; nothing more of it is saved here",
            )
        return StateCorrupt(
            f"another process wrote to this run: {self._path}",
            "see who holds it with `perdure ps`; `perdure doctor` checks the file",
        )

    def _insert_all(self, connection: apsw.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        # One statement for many rows: each one lets go of the GIL, and with many threads waiting that is what costs.
        widths = set(map(len, rows))
        width = max(widths)
        if len(widths) > 1:  # those that have more to say of their calls, and those that have not
            rows = [(*row, *(None,) * (width - len(row))) for row in rows]
        statement = self._inserts.get((width, len(rows)))
        if statement is None:
            extra = f", ({', '.join('?' * width)})" * (len(rows) - 1)
            statement = self._inserts[width, len(rows)] = self._insert[width] + extra
        connection.execute(statement, tuple(chain.from_iterable(rows)))

    def _in_turn(self, batch: Sequence[Entry]) -> None:
        try:
            self._turns.take()
            self._transact(batch)
        finally:
            self._turns.give()

    def _transact(self, batch: Sequence[Entry]) -> None:
        connection = self._connection
        if connection.in_transaction:  # Ctrl-C has left it between two lines; what is written now would be part of it
            connection.execute("ROLLBACK")
        if len(batch) == 1 and not self._ahead:
            (entry,) = batch
            if entry.operation is None and len(entry.rows) == 1 and not entry.pieces and not entry.artifacts:
                row = entry.rows[0]
                connection.execute(self._insert[len(row)], row)  # a statement of its own is a transaction
                return
        for entry in batch:
            for _, _, payload in entry.files:  # whole and durable before a row names them
                artifacts.keep(self._artifacts, payload)
        ahead: list[_Ahead] = []
        commits = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            while self._ahead:
                ahead.append(self._ahead.popleft())
                connection.execute(*ahead[-1][:2])
            for entry in batch:
                if entry.pieces:
                    pieces.add(connection, entry.pieces)
                if entry.artifacts:
                    pieces.use_artifacts(connection, entry.artifacts)
            rows = [row for entry in batch for row in entry.rows]
            for first in range(0, len(rows), AT_ONCE):
                self._insert_all(connection, rows[first : first + AT_ONCE])
            for entry in batch:
                if entry.operation is not None:
                    try:
                        entry.result = entry.operation(connection)
                    except PerdureError as refusal:
                        if entry.rows:
                            raise _Refused(refusal) from refusal
                        entry.error = refusal
            commits = True
            connection.execute("COMMIT")
            self._committed(ahead)
        except BaseException as error:
            # Ctrl-C as COMMIT returns, or in what comes behind it, takes nothing back.
            if commits and not isinstance(error, apsw.Error) and not connection.in_transaction:
                self._committed(ahead)
                raise
            self._ahead.extendleft(reversed(ahead))
            self._on_end(False)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _committed(self, ahead: list[_Ahead]) -> None:
        """A transaction is on the disk; called once more if Ctrl-C breaks it off."""
        while ahead:
            then = ahead[0][2]
            if then is not None:
                then()
            del ahead[0]
        self._on_end(True)
