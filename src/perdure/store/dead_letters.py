"""Dead letters: found, edited, re-driven by one process at a time, resolved, dropped. How they come about: parking.py.

The functions that return an `Operation` are for a transaction (see journal.py); what they raise is handed to the
caller, and nothing was written then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import apsw
import msgspec

from perdure.core.commands import cancel_damaged
from perdure.core.execution.effects import Resolve
from perdure.core.execution.run_effects import HolderInfo
from perdure.core.letter_record import LetterRecord, LetterStatus
from perdure.core.records import ATTEMPTS, CLEAN_UPS, MS, NAME, OUTPUT, STARTED, RunRecord, StepRecord, sealed_row
from perdure.errors import AlreadyRunning, NotFound, RunError, StateCorrupt
from perdure.store import due_letters, lives, parking, pieces
from perdure.store.damaged_rows import if_sound, rows_of
from perdure.store.group_commit import Operation
from perdure.store.rows import intact
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("dead_letters.sql")

CHUNK = 256


class InputHasChanged(RunError):
    """Somebody else has edited the input since it was shown."""

    code = "input-has-changed"

    def __init__(self, letter: int) -> None:
        super().__init__(
            f"the input of dead letter {letter} was edited since it was shown",
            "look at it again, and make the change anew",
        )


class Filter(msgspec.Struct, frozen=True):
    """Which letters are meant.

    `run` is a row number; letters of its child runs count. `before` and `since` are seconds since the epoch.
    """

    status: LetterStatus | None = None
    run: int | None = None
    workflow: str | None = None
    step: str | None = None
    before: float | None = None
    since: float | None = None
    fingerprint: bytes | None = None


class Claim(msgspec.Struct, frozen=True):
    """A letter that this process re-drives: its run, its record, and how many attempts were made of its call so far."""

    letter: LetterRecord
    run: RunRecord
    record: StepRecord
    attempts: int


# -- finding ----------------------------------------------------------------------------------------------------------


def get(store: Store, lid: int) -> LetterRecord:
    """The letter of that number.

    Raises:
        NotFound: there is none.
        StateCorrupt: it is not as it was written.
    """
    letter: LetterRecord = store.journal.read(lambda connection: _letter(store, connection, lid))
    return store.whole(letter)


def number(store: Store, rid: int, seq: int) -> int | None:
    """The number of the letter that is about a record, if there is one."""
    found = store.journal.read(lambda connection: connection.execute(_SQL["number"], (rid, seq)).fetchone())
    return None if found is None else int(found[0])


def of_run(store: Store, rid: int) -> Iterator[LetterRecord]:
    """The letters of a run, in the order of its records."""
    seq = 0
    while rows := _all(store, "of_run", rid, seq, CHUNK):
        found = [_checked(store, row) for row in rows]
        yield from map(store.whole, found)
        seq = found[-1].seq + 1


def find(store: Store, wanted: Filter) -> Iterator[LetterRecord]:
    """The letters that are meant, in the order in which they were parked."""
    lid = 0
    while rows := _all(store, "after", lid, *_fields(wanted), CHUNK):
        found = [_checked(store, row) for row in rows]
        yield from map(store.whole, found)
        lid = found[-1].lid


def find_newest(store: Store, wanted: Filter, below: int | None = None) -> Iterator[tuple[int, LetterRecord | None]]:
    """The letters that are meant with their numbers, the newest first; None for one that is not as it was written.

    Args:
        store: the state file.
        wanted: which.
        below: those with lower numbers only.
    """
    lid = 1 << 62 if below is None else below
    given = (*_fields(wanted), CHUNK)
    while rows := store.journal.read(lambda connection: rows_of(connection, _SQL["before"], (lid, *given))):  # noqa: B023
        for row in rows:
            lid, letter = row[0], intact(LetterRecord, row)
            yield lid, None if letter is None else if_sound(partial(store.whole, letter), lambda: None)


def _fields(wanted: Filter) -> tuple[Any, ...]:
    return (
        wanted.status,
        wanted.run,
        wanted.workflow,
        wanted.step,
        wanted.before,
        wanted.since,
        wanted.fingerprint,
    )


class ReasonRow(NamedTuple):
    """The parked letters with one fingerprint: how many, the number of the newest, and from when to when they are."""

    fingerprint: bytes
    letters: int
    newest: int
    first: float
    last: float


def reasons(store: Store, most: int) -> list[ReasonRow]:
    """The parked letters by their fingerprints, those with most letters first."""
    return [ReasonRow(*row) for row in _all(store, "reasons", most)]


def without_reason(store: Store, most: int) -> list[int]:
    """The numbers of the newest parked letters of versions that gave them no fingerprint."""
    return [lid for (lid,) in _all(store, "without_reason", most)]


def undoings(store: Store) -> set[int]:
    """The numbers of the parked letters of undoings."""
    return {lid for (lid,) in _all(store, "undoings")}


def totals(store: Store) -> dict[str, int]:
    """How many letters of each status there are."""
    return dict(_all(store, "totals"))


def holding(store: Store, letter: LetterRecord) -> HolderInfo | None:
    """Who re-drives a letter at this moment, or None: no process, or one that died.

    One that has ended the redrive and itself since the letter was looked at was at it then, and counts as that.
    """

    def question(connection: apsw.Connection) -> HolderInfo | None:
        info = _living(store, connection, letter)
        if info is not None or letter.holder is None:
            return info
        row = connection.execute(_SQL["get"], (letter.lid,)).fetchone()
        now = None if row is None else _checked(store, row, connection)
        is_left = now is not None and now.holder == letter.holder
        return None if is_left else store.holder.known_as(connection, letter.holder)

    found: HolderInfo | None = store.journal.read(question)
    return found


# -- redriving --------------------------------------------------------------------------------------------------------


def claim(store: Store, lid: int, now: float, *, undoable: bool = False) -> Operation:
    """An operation that takes a letter for re-driving, if it is free: returns a Claim.

    Args:
        store: the state file.
        lid: the letter's number.
        now: seconds since the epoch.
        undoable: its call can be undone, which only an end of the run does that begins afterwards.

    Raises, in the operation:
        RunError: it is not parked any more, or how its run has ended speaks against its call.
        AlreadyRunning: it is being re-driven at this moment, or its run is executed, and that speaks against it.
    """

    def operation(connection: apsw.Connection) -> Claim:
        letter = _free(store, connection, lid, "re-driven")
        run = store.run_in(connection, letter.run)
        due_letters.refuse(store, connection, letter, run, undoable=undoable)
        if letter.holder is not None:
            due_letters.died(store, connection, letter, now)
            store.holder.bury(connection, letter.holder)  # a letter is re-driven by one process at a time
        record = store.record_in(connection, letter.run, letter.seq)
        made = store.attempts_in(connection, letter.run, record)
        hid = store.holder.hid(connection, now)
        parking.put(connection, letter, holder=hid, redriven=letter.redriven + 1, changed=now)
        path, tries = store.path, max([record.attempts, *(one.number for one in made)])
        letter, run = pieces.whole(connection, letter, path), pieces.whole(connection, run, path)
        return Claim(letter, run, pieces.whole(connection, record, path), tries)

    return operation


def count(store: Store, lid: int, now: float) -> Operation:
    """An operation that notes of a letter which stands for a whole run that the run is gone on with.

    Raises, in the operation:
        RunError, AlreadyRunning: as for `claim`.
    """

    def operation(connection: apsw.Connection) -> None:
        letter = _free(store, connection, lid, "re-driven")
        due_letters.refuse(store, connection, letter, store.run_in(connection, letter.run))
        parking.put(connection, letter, holder=None, redriven=letter.redriven + 1, changed=now)

    return operation


def release(store: Store, lid: int, now: float, *, left: bool = False) -> Operation:
    """An operation that lets a letter go which has not been resolved; `left`: in the middle of its redrive."""

    def operation(connection: apsw.Connection) -> None:
        letter = _letter(store, connection, lid)
        if letter.holder == store.holder.hid(connection, now):
            if left:
                due_letters.broken_off(store, connection, letter, store.holder.token, now, lives.INTERRUPTED)
            parking.put(connection, letter, holder=None)

    return operation


def run_of(store: Store, lid: int) -> str | None:
    """The id of the run that stands for itself and that a letter belongs to.

    Also of a letter or a run that is damaged.
    """

    def question(connection: apsw.Connection) -> str | None:
        row: Any = connection.execute(_SQL["get"], (lid,)).fetchone()
        return None if row is None else store.top_of(connection, row[1])

    id: str | None = store.journal.read(question)
    return id


def resolve(store: Store, effect: Resolve, now: float) -> Operation:
    """An operation that resolves a letter with the record of its success: returns whether the run will see it.

    It does if the run is unfinished, is not executed, and its workflow has not gone on to another step since: the
    record of the dead letter becomes one that is done, in the same transaction. If its workflow has gone on, its next
    end undoes the call all the same.

    Raises, in the operation:
        StateCorrupt: this process does not hold the letter any more.
    """

    def operation(connection: apsw.Connection) -> bool:
        letter = _letter(store, connection, effect.lid)
        output = pieces.keep(connection, letter.run, effect.rows[0][OUTPUT])
        hid = store.holder.hid(connection, now)
        if letter.status != "parked" or letter.holder != hid or not store.holder.redrives(connection, letter.run):
            raise StateCorrupt(
                f"dead letter {letter.lid} was taken by another process",
                f"see `perdure dlq show {letter.lid}` for what became of it",
            )
        parking.put(connection, letter, status="resolved", result=output, holder=None, changed=now)
        return _replace(store, connection, letter, effect, output)

    return operation


def _replace(store: Store, connection: apsw.Connection, letter: LetterRecord, effect: Resolve, output: bytes) -> bool:
    run = store.run_in(connection, letter.run)
    record = store.record_in(connection, letter.run, letter.seq)
    top = store.root_in(connection, letter.run)
    ended = ("done",) if record.kind == "undone" else ("done", "cancelled")  # a fork of it may stand on what is undone
    in_part = record.kind == "undone" and record.status == "abandoned"  # the run stands on nothing of that
    if (record.status != "dead" or top.status in ended) and not in_part:
        return False
    if due_letters.executed(store, connection, run) is not None:
        return False
    first, *others = effect.rows
    past = record.kind not in CLEAN_UPS and (  # which no call of the workflow's claims
        run.status in ended
        or next(connection.execute(_SQL["moved_past"], (letter.run, letter.seq, record.name, record.kind)))[0]
    )
    if not past:
        started, ms, attempts = first[STARTED], first[MS], first[ATTEMPTS]
        changed = {"status": "done", "output": output, "started": started, "ms": ms, "attempts": attempts}
        crc = msgspec.structs.replace(record, **changed).checksum(letter.run)
        connection.execute(_SQL["replace_step"], (*changed.values(), crc, letter.run, letter.seq))
    # What goes with the record (that it can be undone, say) comes behind all that is there.
    (last,) = next(connection.execute(_SQL["last_number"], (letter.run,)))
    for seq, row in enumerate(others, last + 1):
        known = (first if past else row)[OUTPUT]  # the run has gone on without the result, which is for its end alone
        store.add_row(connection, sealed_row((letter.run, seq, *row[NAME:OUTPUT], known, *row[OUTPUT + 1 :])))
    store.take_back(connection, letter.run, effect.drop)
    return not past


# -- editing and dropping ---------------------------------------------------------------------------------------------


def edit(store: Store, lid: int, given: bytes | None, before: bytes | None, now: float) -> Operation:
    """An operation that gives a parked letter another input.

    Args:
        store: the state file.
        lid: the letter's number.
        given: its new input; None: the recorded one again.
        before: its other input when it was looked at; None: it had none.
        now: seconds since the epoch.

    Raises, in the operation:
        RunError, AlreadyRunning: as for `claim`.
        InputHasChanged: somebody else has edited it since.
    """

    def operation(connection: apsw.Connection) -> None:
        letter = _free(store, connection, lid, "edited")
        if pieces.whole(connection, letter, store.path).input != before:
            raise InputHasChanged(lid)
        stored = None if given is None else pieces.keep(connection, letter.run, given)
        parking.put(connection, letter, input=stored, changed=now)

    return operation


def drop(store: Store, lid: int, now: float) -> Operation:
    """An operation that drops a parked letter; its row stays.

    Raises, in the operation:
        RunError, AlreadyRunning: as for `claim`.
    """

    def operation(connection: apsw.Connection) -> None:
        parking.put(connection, _free(store, connection, lid, "dropped"), status="dropped", holder=None, changed=now)

    return operation


# -- exporting --------------------------------------------------------------------------------------------------------


def due(store: Store) -> list[LetterRecord]:
    """The letters that were to be exported when they were parked, and have not been."""
    return [store.whole(_checked(store, row)) for row in _all(store, "due")]


def mark_exported(store: Store, lids: Sequence[int]) -> None:
    """They have been exported."""

    def operation(connection: apsw.Connection) -> None:
        for lid in lids:
            parking.put(connection, _letter(store, connection, lid), exported=1)

    store.journal.write((), operation)


# -- inside -----------------------------------------------------------------------------------------------------------


def _free(store: Store, connection: apsw.Connection, lid: int, done: str) -> LetterRecord:
    """The letter, if it is parked and free, as it is stored."""
    letter = _letter(store, connection, lid)
    if letter.status == "superseded":
        raise due_letters.why_superseded(store, connection, letter)
    if letter.status != "parked":
        hint = f"see `perdure dlq ls`: only a parked one can be {done}"
        raise RunError(f"dead letter {lid} is {letter.status}", hint)
    by = _living(store, connection, letter)
    if by is not None:
        raise AlreadyRunning(
            f"dead letter {lid} is being re-driven by pid {by.pid} on {by.host}", "wait until that has ended"
        )
    return letter


def _living(store: Store, connection: apsw.Connection, letter: LetterRecord) -> HolderInfo | None:
    return None if letter.holder is None else store.holder.living(connection, letter.holder)


def _letter(store: Store, connection: apsw.Connection, lid: int) -> LetterRecord:
    row = connection.execute(_SQL["get"], (lid,)).fetchone()
    if row is None:
        raise NotFound(f"there is no dead letter {lid} in {store.path}", "list them with `perdure dlq ls`")
    return _checked(store, row, connection)


def _checked(store: Store, row: Sequence[Any], connection: apsw.Connection | None = None) -> LetterRecord:
    letter = intact(LetterRecord, row)
    if letter is None:
        lid, run, *_ = row
        found = None if connection is None else connection.execute(_SQL["unfinished"], (run,)).fetchone()
        raise StateCorrupt(
            f"dead letter {lid} does not match its checksum: {store.path}",
            "restore a backup: the file was damaged or edited from outside (see `perdure doctor`); "
            + (
                "nothing else depends on that letter"
                if found is None
                else f"without one, end the run, which gives the letter up: `{cancel_damaged(str(found[0]))}`"
            ),
        )
    return letter


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    found: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchall())
    return found
