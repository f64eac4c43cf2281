"""Forks: a new run with the records of another up to a step, which supersedes it.

The new run stands on what the other did, and answers for it: docs/decisions/0022-repair-adds-up.md says who undoes
what.
"""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote
from typing import Any

import apsw
import msgspec

from perdure.core import records
from perdure.core.execution.already_running import being_redriven
from perdure.core.execution.cleanup_records import undone_key
from perdure.core.execution.run_refusals import superseded
from perdure.core.letter_record import LetterRecord
from perdure.core.records import UNDO_NOTE, AttemptRecord, FunctionRecord, Row, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.errors import AlreadyRunning, RunError
from perdure.store import command_lines, deaths, due_letters, parking, pieces, published, signals, spending
from perdure.store.damaged_run import refuse_damaged
from perdure.store.group_commit import Operation
from perdure.store.rows import checked, checked_of_run, corrupt
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("forks.sql")

_THEN = "fork the run"

ChildId = Callable[[str, str, bytes, int], str]
"""The id of a child run, by the id of its parent and the name, the key and the occurrence of the call."""


class Forked(msgspec.Struct, frozen=True):
    """What a fork has taken over.

    Args:
        rid: its row number.
        results: how many dead letters' results it sees that its source did not.
        moved: how many parked letters are its own now.
        again: how many parked letters are of calls that it makes again.
        undoable: how many calls behind its point can be undone; they are if it fails or is cancelled.
        below: how many calls of child runs behind its point can be undone; they are if it is cancelled.
        remade: how many calls behind its point the source had undone, and made again: by their numbers alone it is not
            known whether they stand before it in the script.
    """

    rid: int
    results: int = 0
    moved: int = 0
    again: int = 0
    undoable: int = 0
    below: int = 0
    remade: int = 0

    def __add__(self, other: Forked) -> Forked:
        """Both, under the number of this one."""
        ours, theirs = msgspec.structs.astuple(self)[1:], msgspec.structs.astuple(other)[1:]
        return Forked(self.rid, *map(sum, zip(ours, theirs, strict=True)))


def fork(store: Store, source: RunRecord, new_id: str, before: int, now: float, child_id: ChildId) -> Operation:
    """An operation that makes a new, unfinished run with the records of another up to (not including) `before`.

    Returns Forked, and raises, in the operation:
        AlreadyRunning: the source is executed at this moment, or one of its letters re-driven.
        RunError: it is unfinished, and was forked before; or its row was damaged.
    """

    def operation(connection: apsw.Connection) -> Forked:
        run = store.run_in(connection, source.rid)
        _refuse(store, connection, run)
        if run.holder is not None:
            deaths.taken_from(store, connection, run.holder)
        store.holder.hid(connection, now)  # of this process, which is known from now on, whatever comes of the rest
        with connection:  # a letter may be found late that keeps it from being made
            made = _Fork(store, connection, run, new_id, before, now, child_id).make()
        return made  # noqa: RET504  a block that may swallow errors, as far as mypy knows

    return operation


def _refuse(store: Store, connection: apsw.Connection, run: RunRecord) -> None:
    if run.superseded and run.superseded_by is not None:
        raise superseded(run, store.run_in(connection, run.superseded_by))
    refuse_damaged(connection, run)
    by = None if run.holder is None else store.holder.living(connection, run.holder)
    if by is not None:
        raise AlreadyRunning(
            f"run {run.id} is executed by pid {by.pid} on {by.host}",
            f"wait until it has ended, or `perdure cancel {quote(run.id)}`: a fork takes over what it has done",
        )
    if (redriven := due_letters.redriven(store, connection, run.rid)) is not None:
        raise being_redriven(*redriven, _THEN)
    if connection.execute(_SQL["undoing"], (run.rid,)).fetchone() is not None:
        for rid in store.family_in(connection, run.rid):  # what ends it otherwise refuses what is damaged
            store.refuse_damaged_steps(connection, rid)
        raise RunError(
            f"run {run.id} was left while it was being undone: what a fork would take over may be undone in part",
            f"end that first: perdure resume {quote(run.id)}, or perdure cancel {quote(run.id)}",
        )


# -- making one -------------------------------------------------------------------------------------------------------


class _Fork:
    """One fork, inside a transaction; `above` is that of its parent, if it is of a child run."""

    def __init__(
        self,
        store: Store,
        connection: apsw.Connection,
        source: RunRecord,
        new_id: str,
        before: int,
        now: float,
        child_id: ChildId,
        above: _Fork | None = None,
    ) -> None:
        self._store = store
        self._execute: Callable[..., Any] = connection.execute
        self._connection = connection
        self._source = source
        self._new_id = new_id
        self._before = before
        self._now = now
        self._child_id = child_id
        self._above = above
        self._rid = 0
        self._forks: dict[int, int] = {}  # of the runs that it is a child of, and their forks
        # May something of it have to be put away? What a child run did ends with the run that had called it.
        self._pending: bool = source.status not in ("done", "cancelled") if above is None else above._pending
        self._index = due_letters.index_to_stand_on(store, connection, source.rid, now)

    def make(self) -> Forked:
        """Make it; what was re-driven counts as done."""
        source, before = self._source, self._before
        rid = self._rid = self._add()
        made = Forked(rid)
        forks = self._forks | {source.rid: rid}
        for one, _ in self._line():
            pieces.share(self._connection, one, rid)
        self._copy_steps(rid, forks)
        seen = self._complete(rid)  # whose result is another than the one that the source saw
        results = len(seen)  # a child run counts its own
        for seq, name, key, n, status, kind in self._index:
            if seq < before and kind == "step" and (child := self._child_of(seq, name, key, n)) is not None:
                if status == "done" and self._has_results(child):
                    made += self._fork_child(child, self._child_id(self._new_id, name, key, n), forks)
                    self._execute(_SQL["drop_step"], (rid, seq))  # it is called again, and comes to its new result
                    seen.append(seq)
                else:
                    self._store.put_run(self._connection, child, parent=rid)  # its letters are the fork's
                    for one in self._family(child.rid) if source.status == "cancelled" else ():
                        due_letters.revive(self._store, self._connection, one, self._now)
                    spending.count_for(self._connection, child.rid, forks, self._store.path)
        calls = {(name, key, n) for _, name, key, n, *_ in self._store.index_in(self._connection, rid)}
        spending.copy(self._connection, source.rid, rid, calls, forks, self._store.path)
        point = self._execute(_SQL["next_number"], (rid,)).fetchone()[0]
        behind, undoable = self._behind(rid)
        self._store.insert_rows(self._connection, behind)
        last = behind[-1][records.SEQ] if behind else point - 1
        self._copy_functions(rid)
        stretches = self._store.exempted_in(self._connection, source.rid)
        if behind:
            stretches.append((point, last))
        if seen and min(seen) + 1 < point:
            stretches.append((min(seen) + 1, point - 1))
            self._store.publish_again_in(self._connection, rid, stretches[-1:])
        self._store.exempt_in(self._connection, rid, stretches)
        made += self._letters(rid)
        made += self._children(rid)
        if self._above is None:
            signals.hand_on(self._store, self._connection, source.rid, rid)
            moment = float(self._execute(_SQL["moment"], (source.rid, before)).fetchone()[0])
            published.hand_on(self._store, self._connection, source.rid, rid, before, moment)
            command_lines.copy(self._connection, source.rid, rid, self._store.path)
        run = self._store.run_in(self._connection, rid)
        self._store.put_run(self._connection, run, forked_at=point, forked_last=last, holder=None)
        run = self._store.run_in(self._connection, source.rid)
        self._store.put_run(self._connection, run, superseded_by=rid, holder=None, stop=None)
        return made + Forked(0, results=results, undoable=undoable, remade=self._remade())

    def _add(self) -> int:
        source = self._source
        hid = self._store.holder.hid(self._connection, self._now)  # who adds records to a run has to hold it
        run = msgspec.structs.replace(
            source,
            rid=0,
            id=self._new_id,
            parent=None if self._above is None else self._above._rid,
            status="running",
            holder=hid,
            epoch=0,
            output=None,
            created=self._now,
            started=self._now,
            ended=None,
            stop=None,
            forked_from=source.rid,
            forked_at=0,
            forked_last=0,
            superseded_by=None,
            timed_from=None,
            wake=None,
            dedup=None,
            hold=None,
            stopped=None,
            turn=None,
            steps=None,
        )
        return self._store.insert_run(self._connection, run).rid

    def _copy_steps(self, rid: int, forks: dict[int, int]) -> None:
        """The records below the point, under the fork's number."""
        seq = 1
        while rows := self._execute(
            _SQL["source_steps"], (self._source.rid, seq, self._before, self._pending)
        ).fetchall():
            found = [
                record
                if (record := checked_of_run(StepRecord, row, self._store.path)).spent is None
                else msgspec.structs.replace(record, spent=spending.in_fork(record.spent, forks))
                for row in rows
            ]
            self._store.insert_rows(self._connection, [_row(rid, record) for record in found])
            seq = found[-1].seq + 1

    def _copy_functions(self, rid: int) -> None:
        for row in self._execute(_SQL["functions"], (self._source.rid,)).fetchall():
            record = checked_of_run(FunctionRecord, row, self._store.path).sealed(rid)
            self._execute(_SQL["add_function"], (rid, *msgspec.structs.astuple(record)))

    def _copy_attempts(self, rid: int, of: int) -> None:
        """The attempts of the calls that the fork has letters of."""
        for row in self._execute(_SQL["letter_attempts"], (rid, of)).fetchall():
            record = checked_of_run(AttemptRecord, row, self._store.path).sealed(rid)
            self._execute(_SQL["add_attempt"], (rid, *msgspec.structs.astuple(record)))

    def _letters_in(self, query: str, *values: int) -> list[LetterRecord]:
        rows = self._execute(_SQL[query], values).fetchall()
        return [checked(LetterRecord, row, self._store.path) for row in rows]

    def _line(self) -> list[tuple[int, int]]:
        """The source and the forks of it, and below which number each has the same records as the new one."""
        line = [(self._source.rid, self._before)]
        for rid, before in line:  # which grows meanwhile, and ends: a fork is newer than its source
            forks = [fork for fork in self._execute(_SQL["forks"], (rid,)).fetchall() if fork[0] > rid]
            line += [(fork, min(before, at)) for fork, at in forks]
        return line

    def _complete(self, rid: int) -> list[int]:
        """The records of letters that were resolved since the source went past them are completed ones.

        A letter may be one of an earlier fork, which has taken it over.
        """
        results: dict[int, bytes] = {}
        for one, before in self._line():
            if one != rid:
                letters = self._letters_in("results", one)
                results |= {it.seq: it.result for it in letters if it.result is not None and it.seq < before}
        seen = [seq for seq, *_, status, _ in self._index if status == "dead" and seq in results]
        for seq in seen:
            record = self._store.record_in(self._connection, rid, seq)
            record = msgspec.structs.replace(record, status="done", output=results[seq]).sealed(rid)
            self._execute(_SQL["complete_step"], (record.status, record.output, record.crc, rid, seq))
        return seen

    # -- what the source did behind the point -------------------------------------------------------------------------

    def _behind(self, rid: int) -> tuple[list[Row], int]:
        """The notes of an unfinished source behind the point, and what they are about, under keys that no call has.

        The notes of what lies before the point are not changed, wherever they stand.
        """
        if not self._pending:
            return [], 0
        rows: dict[int, Row] = {}
        undoable = 0
        for seq, *_, status, kind in self._index:
            in_part = kind == "undone" and status == "abandoned"
            if seq < self._before or not (in_part or kind in ("defer", "undo")):
                continue
            record = self._store.record_in(self._connection, self._source.rid, seq)
            if in_part:  # its letter is the fork's
                rows[seq] = _row(rid, record)
                continue
            if kind == "undo":
                note = pieces.whole(self._connection, record, self._store.path)
                noted, _ = codec.unpack_inputs(note.input, (), owner=UNDO_NOTE)
                about: int = noted[2]
                if about < self._before:
                    rows[seq] = _row(rid, record)
                    continue
                undoable += 1
                made = self._store.record_in(self._connection, self._source.rid, about)
                if made.status == "dead":  # it was re-driven since: the note has the result
                    made = msgspec.structs.replace(made, status="done", output=record.output)
                rows[about] = _row(rid, _unclaimed(made))
            rows[seq] = _row(rid, _unclaimed(record))
        return [rows[seq] for seq in sorted(rows)], undoable

    def _remade(self) -> int:
        """How many calls behind the point were undone before."""
        undone = {key for _, _, key, _, _, kind in self._index if kind == "undone"}
        return sum(
            bool(undone) and seq >= self._before and kind == "step" and undone_key(name, key, n) in undone
            for seq, name, key, n, _, kind in self._index
        )

    # -- dead letters -------------------------------------------------------------------------------------------------

    def _letters(self, rid: int) -> Forked:
        """Parked letters belong to the fork; those of calls that it makes again are superseded."""
        moved = again = 0
        if self._source.status == "cancelled":
            due_letters.revive(self._store, self._connection, self._source.rid, self._now)
        for letter in self._letters_in("parked", self._source.rid):
            what = due_letters.undoing_forked(self._store, self._connection, letter, self._before, rid, self._now)
            if what == "settled":
                continue
            if 0 < letter.seq < self._before or (what == "in part" and self._pending):
                parking.put(self._connection, letter, run=rid, holder=None)
                moved += 1
            elif what == "call":
                self._supersede(letter)
                again += 1
        if self._source.superseded_by is not None:  # it is not the first fork of a run that was done
            moved += self._letters_of_forks(rid)
        settled = self._letters_in("settled_letters", self._source.rid, self._before, rid)
        fresh = {"run": rid, "holder": None, "exported": None}
        parking.add_copies(self._connection, [msgspec.structs.replace(letter, **fresh) for letter in settled])
        self._copy_attempts(rid, self._source.rid)
        return Forked(0, moved=moved, again=again)

    def _letters_of_forks(self, rid: int) -> int:
        """The letters that an earlier fork has taken over, and that are parked still."""
        moved = 0
        for fork, before in self._line():
            if fork in (rid, self._source.rid):
                continue
            for letter in self._letters_in("parked", fork):
                if 0 < letter.seq < before:
                    due_letters.refuse_redriven(self._store, self._connection, letter, _THEN)
                    parking.put(self._connection, letter, run=rid, holder=None)
                    moved += 1
            self._copy_attempts(rid, fork)
        return moved

    def _supersede(self, letter: LetterRecord) -> None:
        parking.put(self._connection, letter, status="superseded", holder=None, changed=self._now)

    # -- child runs ---------------------------------------------------------------------------------------------------

    def _child_of(self, seq: int, name: str, key: bytes, n: int) -> RunRecord | None:
        """The child run that a record is of, if it is of one."""
        maker = self._source
        while maker.forked_from is not None and maker.forked_at is not None and seq < maker.forked_at:
            maker = self._store.run_in(self._connection, maker.forked_from)
        found = self._execute(_SQL["child"], (self._child_id(maker.id, name, key, n),)).fetchone()
        return None if found is None else self._store.run_in(self._connection, found[0])

    def _fork_child(self, child: RunRecord, new_id: str, forks: dict[int, int]) -> Forked:
        """Fork a child run, as a whole."""
        every: int = self._execute(_SQL["next_number"], (child.rid,)).fetchone()[0]
        fork = _Fork(self._store, self._connection, child, new_id, every, self._now, self._child_id, self)
        fork._forks = forks
        return fork.make()

    def _has_results(self, run: RunRecord) -> bool:
        """Has the child run, or one of its own, letters that were resolved since it went past them?"""
        family = self._family(run.rid)
        return any(self._execute(_SQL["unseen"], (rid,)).fetchone() is not None for rid in family)

    def _family(self, run: int) -> list[int]:
        """A run, its child runs, theirs, and so on.

        Raises:
            StateCorrupt: one of them is a child of itself.
        """
        family = [run]
        for one in family:  # which grows meanwhile
            for (child,) in self._execute(_SQL["children"], (one,)).fetchall():
                if child in family:
                    raise corrupt(self._store.path)
                family.append(child)
        return family

    def _children(self, rid: int) -> Forked:
        """The child runs that the fork calls anew: what is pending of them is put away when the fork ends."""
        again = below = 0
        for (child,) in self._execute(_SQL["children"], (self._source.rid,)).fetchall():
            again += self._supersede_letters(child)
            if self._pending:
                below += self._execute(_SQL["undoable"], (child,)).fetchone()[0]
                run = self._store.run_in(self._connection, child)
                self._store.put_run(self._connection, run, parent=rid)
        return Forked(0, again=again, below=below)

    def _supersede_letters(self, run: int) -> int:
        count = 0
        for one in self._family(run):
            for letter in self._letters_in("parked", one):
                if due_letters.undoing_forked(self._store, self._connection, letter, 0, 0, self._now) == "call":
                    self._supersede(letter)
                    count += 1
        return count


def _row(rid: int, record: StepRecord) -> Row:
    """The record, as a row of that run."""
    row: Row = (rid, *msgspec.structs.astuple(record.sealed(rid)))
    return row


def _unclaimed(record: StepRecord) -> StepRecord:
    """The record under a key that no call has."""
    return msgspec.structs.replace(record, key=codec.digest(b"superseded\0" + record.key))
