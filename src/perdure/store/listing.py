"""What a person asks of a state file: runs by part of their id, totals, and every row for a check of the whole."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import apsw
import msgspec

from perdure.core.execution.run_effects import HolderInfo
from perdure.core.letter_record import LetterRecord
from perdure.core.records import AttemptRecord, FunctionRecord, RunRecord, StepRecord
from perdure.store import artifacts, pieces, spending
from perdure.store.damaged_rows import rows_of
from perdure.store.record_queries import CHUNK
from perdure.store.rows import corrupt, intact, intact_of_run, sound
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("listing.sql")

NEWEST = 1_000
"""Runs of which the newest that nobody has called is looked for."""

CALLERS = 100
"""Runs, the newest, that may have called one by an id."""

FIXED = (3, 51, 3)
"""The SQLite in which the WAL-reset corruption bug is fixed (https://www.sqlite.org/wal.html, section 11)."""


class HolderState(msgspec.Struct, frozen=True):
    """A process that has used the file: who, whether it lives, and how many runs name it."""

    info: HolderInfo
    alive: bool
    runs: int


class RowCheck(msgspec.Struct, frozen=True):
    """A row of the file: of which table, whose, and whether it matches its checksum."""

    table: str
    label: str
    intact: bool


def sqlite_version() -> tuple[int, ...]:
    """The version of the SQLite in use, which is apsw's own and not the system's."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def is_copy(store: Store) -> bool:
    """Is a file of an earlier version shown, as a copy that was migrated?"""
    shown: str = store.journal.read(lambda connection: connection.db_filename("main"))
    return not os.path.exists(shown)


def ids_like(store: Store, prefix: str, most: int) -> list[tuple[str, bool]]:
    """The ids of up to `most` runs that begin so, and whether they are children; the exact one first."""
    return [(id, bool(child)) for id, child in _all(store, "ids_like", prefix, most)]


def has(store: Store, id: str) -> bool:
    """Is there a run of that id? Its index is asked, however many runs there are."""
    return bool(_all(store, "has", id)[0][0])


def newest(store: Store) -> str | None:
    """The id of the run that was started or resumed last, and that no workflow has called or enqueued.

    Of many runs the newest are looked at: if a workflow has begun all of those, it is the newest one.

    Raises:
        StateCorrupt: there are children only.
    """
    found = _all(store, "newest", NEWEST)
    if not found and totals(store):
        raise corrupt(store.path)  # children of no run
    for rid, id, doubtful in found:
        caller = id.rpartition(".")[0]  # of an enqueued run that has no id of its own
        if not doubtful or not _all(store, "called", rid, msgspec.msgpack.encode(id), caller, CALLERS)[0][0]:
            return str(id)
    return found[0][1] if found else None


def totals(store: Store) -> dict[str, int]:
    """How many runs of each status there are, children included."""
    found = dict(_all(store, "totals"))
    # Nearly all are done: SQLite counts the entries of an index five times faster than those of a part of it.
    done = found.pop("all") - sum(found.values())
    return found | ({"done": done} if done else {})


def may_have_letters(store: Store, rid: int) -> bool:
    """Has a run dead letters, also such as were resolved, or child runs, which may have some? Answered fast."""
    return bool(_all(store, "may_have_letters", rid)[0][0])


def letters_of_clean_ups(store: Store, rid: int) -> list[int]:
    """The numbers of the parked dead letters of clean-ups of a run and its child runs."""
    return [lid for (lid,) in _all(store, "letters_of_clean_ups", rid)]


def dead_letters(store: Store, rid: int) -> int:
    """How many calls of a run and its child runs are dead letters; a run that is parked as a whole is no call."""
    count: int = _all(store, "dead_letters", rid)[0][0]
    return count


def kept_undos(store: Store, rid: int) -> dict[str, int]:
    """How many calls with undo= each child run of a run has made that is done, with those below it, by its id."""
    return dict(_all(store, "kept_undos", rid))


def holders(store: Store) -> list[HolderState]:
    """Every process that the file knows."""

    def question(connection: apsw.Connection) -> list[HolderState]:
        rows: list[Any] = connection.execute(_SQL["holders"]).fetchall()
        return [
            HolderState(HolderInfo(*info), store.holder.living(connection, hid) is not None, runs)
            for hid, *info, _, _, runs in rows
        ]

    found: list[HolderState] = store.journal.read(question)
    return found


def holder_of(store: Store, run: RunRecord) -> HolderInfo | None:
    """Which process a run names as the one that has it, whether that lives or not."""
    if run.holder is None:
        return None
    hid = run.holder
    info: HolderInfo = store.journal.read(lambda connection: store.holder.known_as(connection, hid))
    return info


_LEAST = -math.inf
"""What comes before every number, those that perdure never gives included."""

_LONG: dict[str, tuple[Any, ...]] = {
    "wait": (_LEAST, "", b"", 0, 0),
    "signal": (_LEAST,),
    "tick": ("", _LEAST),
    "published_value": (_LEAST, ""),
    "session": (_LEAST, 0),
    "batch": (_LEAST, 0),
    "deed": (_LEAST,),
}
"""Tables that may be long, and what comes before every key of theirs."""


def rows(store: Store) -> Iterator[RowCheck]:
    """Every row that has a checksum, a chunk at a time, and every dead letter that points nowhere.

    Raises:
        StateCorrupt: SQLite itself cannot read on.
    """
    for row in _walk(store, "runs_after", (_LEAST,)):
        _, id, *_ = row
        yield RowCheck("run", str(id), _complete(store, intact(RunRecord, row)))
    for step in _walk(store, "steps_after", (_LEAST, 0)):
        run, seq, name, *_ = step
        yield RowCheck("step", f"#{seq} {name} of run number {run}", _complete(store, intact_of_run(StepRecord, step)))
    for attempt in _walk(store, "attempts_after", (_LEAST, 0, "", b"", 0, 0)):
        run, _, name, _, _, number, *_ = attempt
        label = f"{number} of {name} of run number {run}"
        yield RowCheck("attempt", label, _complete(store, intact_of_run(AttemptRecord, attempt)))
    for row in _all(store, "functions"):
        run, kind, name, *_ = row
        label = f"{kind} {name} of run number {run}"
        yield RowCheck("function", label, intact_of_run(FunctionRecord, row) is not None)
    for table in ("holder", "lock", "crash", "life", "exempt", "queue", "queue_turn", "schedule", "workflow_default"):
        for row in _all(store, f"all_{table}"):
            yield RowCheck(table, f"{row[0]}", sound(row))
    for row in _all(store, "all_keyed_request"):
        yield RowCheck("request", f"at {row[2]}", sound(row))
    for row in _all(store, "all_code"):
        yield RowCheck("code", f"{row[2]} of {row[1]}", sound(row))
    for row in _walk(store, "command_line_rows_after", (_LEAST,)):
        yield RowCheck("command line", f"of run number {row[0]}", sound(row))
    for table, first in _LONG.items():
        for row in _walk(store, f"{table}_rows_after", first):
            yield RowCheck(table, f"{row[1]} of {row[0]}", sound(row))
    for row in _walk(store, "letters_after", (_LEAST,)):
        lid, *_ = row
        yield RowCheck("dead letter", str(lid), _complete(store, intact(LetterRecord, row)))
    key = b""
    while found := _pieces(store, key):
        for key, whole in found:
            yield RowCheck("piece", f"{key.hex()} of the large values", whole)
    at: tuple[float, bytes] = (_LEAST, b"")
    while used := _uses(store, at):
        for row in used:
            yield RowCheck("piece_use", f"of run number {row[0]}", sound(row))
        at = used[-1][:2]
    last: tuple[str, float] = ("", _LEAST)
    while spent := _spent(store, last):
        for row in spent:
            yield RowCheck("spend", f"{row[3]} of run number {row[2]}", sound(row))
        last = spent[-1][:2]
    for row in _all(store, "artifacts"):
        label = f"{row[1]} of run number {row[0]}"
        yield RowCheck("artifact", label, sound(row) and artifacts.is_sound(store.path, str(row[1])))
    for row in _all(store, "budgets"):
        yield RowCheck("budget", f"of run number {row[0]}", sound(row))
    for run, seq in _all(store, "stray_letters"):
        yield RowCheck("dead letter", f"#{seq} of run number {run}", intact=False)
    for table, number in _all(store, "strays"):
        yield RowCheck(table, f"number {number}, which points to nothing", intact=False)


def _pieces(store: Store, after: bytes) -> list[tuple[bytes, bool]]:
    found: list[tuple[bytes, bool]] = store.journal.read(lambda connection: pieces.check(connection, after, CHUNK))
    return found


def _spent(store: Store, after: tuple[str, float]) -> list[Any]:
    found: list[Any] = store.journal.read(lambda connection: spending.rows(connection, after, CHUNK))
    return found


def _uses(store: Store, after: tuple[float, bytes]) -> list[Any]:
    found: list[Any] = store.journal.read(lambda connection: pieces.uses(connection, after, CHUNK))
    return found


def _complete(store: Store, record: StepRecord | AttemptRecord | RunRecord | LetterRecord | None) -> bool:
    """Is it a record as it was written, and is all that it needs there?"""
    if record is None or not pieces.needed(record):
        return record is not None
    found: bool = store.journal.read(lambda connection: pieces.complete(connection, record, store.path))
    return found


def _walk(store: Store, query: str, first: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The rows of a table, in the order of its key, which `first` comes before and every row begins with."""
    at = first
    while chunk := _all(store, query, *at, CHUNK):
        yield from chunk
        following = chunk[-1][: len(first)]
        if following == at:
            return  # a damaged index that leads in a circle
        at = following


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    found: list[Any] = store.journal.read(lambda connection: rows_of(connection, _SQL[query], values))
    return found
