"""A run of which rows are damaged, and that is to be ended: they are taken out of its way, and kept in a note.

Nothing reads those rows any more, and all that is intact is read as ever. It is for a run that is ended then: one that
is gone on with would make a call again whose record is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from shlex import quote
from typing import Any, NamedTuple

import apsw
import msgspec

from perdure.core.exceptions import capture
from perdure.core.execution.run_effects import HolderInfo
from perdure.core.letter_record import WHOLE_RUN, LetterRecord
from perdure.core.records import NOTED, AttemptRecord, FunctionRecord, RunRecord, StepRecord, is_time
from perdure.core.run_notes import Remark
from perdure.core.values import codec
from perdure.errors import AlreadyRunning, NotFound, RunError, StateCorrupt
from perdure.store import pieces
from perdure.store.damaged_rows import if_sound, rows_of
from perdure.store.group_commit import Operation
from perdure.store.rows import intact, intact_of_run, sound
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("damaged_run.sql")

LOOKED_AT = 1_000
"""Runs of a workflow, or of its script, among which a damaged one is looked for."""

SHOWN = 10
"""What is damaged that the line names."""

_OWN_ROW = codec.digest(b"damaged row")
"""What the note is about if the run's own row was damaged."""

_RECORDS: dict[str, Any] = {"step": StepRecord, "attempt": AttemptRecord, "function": FunctionRecord}
_NAMES = {
    "exempt": "what an edit was accepted for",
    "crash": "a crash",
    "life": "a life",
    "wait": "a wait",
    "signal": "a signal",
    "published": "a published value",
    "session": "a session",
    "batch": "a map",
    "command_line": "its command line",
    "budget": "its budget",
    "spend": "what was spent",
}
"""The other tables, whose rows end with the checksum of what is before it."""

_CALLS = ("run", "step", "dead_letter")
"""The tables whose rows say what was done: without one, a call is not undone."""


class _Row(NamedTuple):
    """A row that is taken out, and what it is."""

    table: str
    columns: dict[str, Any]
    name: str


def take_out(store: Store, id: str, now: float) -> Operation:
    """An operation that asks for the end of a run that has not ended, and takes what is damaged of it out of its way.

    Returns what is damaged in a line, or "": nothing is, or it is superseded. Raises, in the operation:
        NotFound: there is no such run.
        AlreadyRunning: a process executes it.
        StateCorrupt: its own row says nothing that could be true.
    """

    def operation(connection: apsw.Connection) -> str:
        with connection:  # what keeps it from that may be found late
            damaged = _Family(store, connection, id, now).take_out()
        return damaged  # noqa: RET504  a block that may swallow errors, as far as mypy knows

    return operation


def meant(store: Store, key: bytes, workflow: str, script: str) -> str | None:
    """The id of the run that a call of a workflow may have met damage in: whose row is damaged, or that is unfinished.

    Args:
        store: the state file.
        key: of the inputs.
        workflow: its name.
        script: where it is defined.
    """
    columns = ", ".join(RunRecord.__struct_fields__)
    statement = (
        f"SELECT {columns} FROM run WHERE parent IS NULL AND (key = ? OR workflow = ? OR script = ?) ORDER BY rid DESC"
    )
    rows: list[Any] = store.journal.read(
        lambda at: rows_of(at, f"{statement} LIMIT {LOOKED_AT}", (key, workflow, script))
    )
    runs = [(row, intact(RunRecord, row)) for row in rows]
    damaged = [str(row[1]) for row, run in runs if run is None]
    unfinished = [
        run.id for _, run in runs if run is not None and run.key == key and run.status not in ("done", "cancelled")
    ]
    return next(iter([*damaged, *unfinished]), None)


def refuse_damaged(connection: apsw.Connection, run: RunRecord) -> None:
    """A run whose row was damaged may have been called with other inputs than that says: nothing is made of those.

    Raises:
        RunError: it was.
    """
    if connection.execute(_SQL["was_damaged"], (run.rid, _OWN_ROW)).fetchone() is not None:
        raise RunError(
            f"the inputs of run {run.id} are lost: the state file has no intact row of it",
            "call the workflow again: that is a new run",
        )


class _Family:
    """A run and its child runs, in a transaction."""

    def __init__(self, store: Store, connection: apsw.Connection, id: str, now: float) -> None:
        self._store, self._connection, self._now = store, connection, now
        found: Any = connection.execute(_SQL["find"], (id,)).fetchone()
        if found is None:
            raise NotFound(f"there is no run {id!r} {store.place}", "list the runs with `perdure ps`")
        self._rid: int = found[0]
        self._out: list[_Row] = []

    def take_out(self) -> str:
        """See `take_out` above."""
        top = self._row_of_run(self._rid)
        for (rid,) in self._rows("below_by_id", top.id):  # also those whose parent is not what it was
            self._row_of_run(rid)
        if not top.superseded:
            for (rid,) in self._rows("family", self._rid):
                self._rows_of(rid)
        if not self._out:
            return ""
        run = self._store.run_in(self._connection, self._rid)
        if run.status not in ("done", "cancelled") and not run.superseded:
            run = self._store.put_run(self._connection, run, stop=self._now)
        text = self._text()
        fault = capture.encode(capture.to_fault(Remark(text)))
        kept = msgspec.msgpack.encode([(row.table, row.columns) for row in self._out])
        own = any(row.table == "run" and row.columns["rid"] == self._rid for row in self._out)
        about = _OWN_ROW if own else codec.digest(b"damaged\0%r" % self._now)
        note = AttemptRecord(run.epoch, NOTED, about, 0, 1, False, kept, fault, self._now, 0, 0).sealed(run.rid)
        self._connection.execute(_SQL["put_note"], (run.rid, *msgspec.structs.astuple(note)))
        return text

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._connection.execute(_SQL[query], values).fetchall()

    def _text(self) -> str:
        names = list(dict.fromkeys(row.name for row in self._out))
        some = ", ".join(names[:SHOWN]) + (f", and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
        given_up = f"damaged, and given up: {some}"
        if not any(row.table in _CALLS for row in self._out):
            return given_up
        return (
            f"{given_up}; a call whose record is damaged is not undone, and may have been done: look with the service"
        )

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _row_of_run(self, rid: int) -> RunRecord:
        """The run of that number; one that is damaged is taken as it stands, if that can be true."""
        columns = ", ".join(RunRecord.__struct_fields__)
        (row,) = rows_of(self._connection, f"SELECT {columns} FROM run WHERE rid = ?", (rid,))
        run = intact(RunRecord, row)
        if run is not None:
            return self._let_go(run)
        self._out.append(_Row("run", dict(zip(RunRecord.__struct_fields__, row, strict=True)), self._own(rid)))
        run = self._as_it_stands(RunRecord(*row))
        assignments = ", ".join(f"{name} = ?" for name in RunRecord.__struct_fields__)
        values = msgspec.structs.astuple(run)
        self._connection.execute(f"UPDATE run SET {assignments} WHERE rid = ?", (*values, rid))
        return self._let_go(run)

    def _as_it_stands(self, run: RunRecord) -> RunRecord:
        changed: dict[str, Any] = {
            name: self._now if name in ("created", "started") else None
            for name in ("created", "started", "ended", "stop", "timed_from", "wake")
            if not is_time(getattr(run, name) or 0.0)
        }
        forks, above = self._rows("fork_of", run.rid), self._rows("above_by_id", run.id, run.rid)
        changed["superseded_by"] = forks[0][0] if forks else None
        changed["parent"] = above[0][0] if above else None
        sources = self._rows("source_of", run.rid)
        if sources and run.forked_from is not None:
            changed["forked_from"] = sources[0][0]
        elif run.forked_from is not None and not (run.forked_from < run.rid and self._rows("exists", run.forked_from)):
            changed |= {"forked_from": None, "forked_at": None, "forked_last": None}
        run = msgspec.structs.replace(run, **changed).sealed()
        if not run.intact():
            raise StateCorrupt(
                f"what the state file says of run {run.id} cannot be true: {self._store.path}",
                "restore a backup, or begin without this file, and keep it: `perdure doctor --set-aside`",
            )
        return run

    def _let_go(self, run: RunRecord) -> RunRecord:
        """Whom it is executed by, of whom nothing is known any more, is taken for dead: what that writes is refused."""
        if run.holder is None:
            return run
        by = if_sound(partial(self._store.holder.living, self._connection, run.holder), lambda: False)
        if isinstance(by, HolderInfo):
            raise AlreadyRunning(
                f"run {run.id} is executed by pid {by.pid} on {by.host}",
                f"end it first: `perdure cancel {quote(run.id)}`",
            )
        if by is None:
            return run
        self._out.append(_Row("holder", {"hid": run.holder}, f"the process that had it{self._of(run.rid)}"))
        return self._store.put_run(self._connection, run, holder=None)

    # -- their rows ---------------------------------------------------------------------------------------------------

    def _rows_of(self, rid: int) -> None:
        steps: dict[int, StepRecord] = {}
        for table, kind in _RECORDS.items():
            for columns in self._all(table, rid):
                record = intact_of_run(kind, list(self._ordered(kind, columns)))
                whole = record is not None and if_sound(partial(self._whole, record), lambda: False)
                if not whole:
                    self._drop(table, columns, self._name(table, columns, rid))
                elif isinstance(record, StepRecord):
                    steps[record.seq] = record
        self._notes_of(rid, steps)
        for columns in self._all("dead_letter", rid):
            letter = intact(LetterRecord, [columns[name] for name in LetterRecord.__struct_fields__])
            if letter is None or (letter.seq != WHOLE_RUN and letter.seq not in steps):
                self._drop("dead_letter", columns, f"dead letter {columns['lid']}")
            elif letter.holder is not None and not self._is_known(letter.holder):
                fresh = msgspec.structs.replace(letter, holder=None).sealed()
                self._connection.execute(_SQL["free_letter"], (fresh.crc, fresh.lid))
        for table, name in _NAMES.items():
            for columns in self._all(table, rid):
                if not sound([*(value for key, value in columns.items() if key != "crc"), columns["crc"]]):
                    self._drop(table, columns, f"{name}{self._of(rid)}")

    def _notes_of(self, rid: int, steps: dict[int, StepRecord]) -> None:
        """A note of how a call is undone says nothing without the record of that call."""
        for record in [each for each in steps.values() if each.kind == "undo"]:
            note = pieces.whole(self._connection, record, self._store.path)
            noted, _ = codec.unpack_inputs(note.input, (), owner=note.name)
            about, name = noted[2], noted[3]
            if about not in steps:
                columns = dict(
                    zip(("run", *StepRecord.__struct_fields__), (rid, *msgspec.structs.astuple(record)), strict=True)
                )
                self._drop("step", columns, f"record #{about} ({name}){self._of(rid)}")
                del steps[record.seq]

    def _whole(self, record: Any) -> bool:
        if not isinstance(record, FunctionRecord) and pieces.needed(record):
            pieces.whole(self._connection, record, self._store.path)
        return True

    def _is_known(self, hid: int) -> bool:
        return if_sound(lambda: self._store.holder.known_as(self._connection, hid) is not None, lambda: False)

    def _all(self, table: str, rid: int) -> Iterator[dict[str, Any]]:
        names = [str(row[1]) for row in self._connection.execute(f"PRAGMA table_info({table})").fetchall()]
        for row in rows_of(self._connection, f"SELECT {', '.join(names)} FROM {table} WHERE run = ?", (rid,)):
            yield dict(zip(names, row, strict=True))

    @staticmethod
    def _ordered(kind: Any, columns: dict[str, Any]) -> Iterator[Any]:
        yield columns["run"]
        for name in kind.__struct_fields__:
            yield columns[name]

    def _drop(self, table: str, columns: dict[str, Any], name: str) -> None:
        keys = [str(row[1]) for row in self._connection.execute(f"PRAGMA table_info({table})").fetchall() if row[5]]
        where = " AND ".join(f"{key} IS ?" for key in keys)
        self._connection.execute(f"DELETE FROM {table} WHERE {where}", tuple(columns[key] for key in keys))
        if self._connection.changes() != 1:
            raise StateCorrupt(
                f"a damaged row of table {table} cannot be taken out of {self._store.path}",
                "see `perdure doctor`, or restore a backup",
            )
        self._out.append(_Row(table, columns, name))

    # -- words --------------------------------------------------------------------------------------------------------

    def _name(self, table: str, columns: dict[str, Any], rid: int) -> str:
        if table == "step":
            return f"record #{columns['seq']} ({columns['name']}){self._of(rid)}"
        if table == "attempt":
            return f"an attempt of {columns['name']}{self._of(rid)}"
        return f"what is known of the function of {columns['name']}{self._of(rid)}"

    def _own(self, rid: int) -> str:
        return "its own row, which is taken as it stands" if rid == self._rid else f"the row{self._of(rid)}"

    def _of(self, rid: int) -> str:
        if rid == self._rid:
            return ""
        ((id,),) = rows_of(self._connection, "SELECT id FROM run WHERE rid = ?", (rid,))
        return f" of {id}"
