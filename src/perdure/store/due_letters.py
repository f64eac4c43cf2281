"""Which dead letters of a run are due still: docs/decisions/0097-which-clean-ups-are-due.md has the table.

All of it is for a transaction (see journal.py); what it raises is handed to the caller, and nothing was written then.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

import apsw
import msgspec

from perdure.core.execution.already_running import being_redriven
from perdure.core.execution.cleanup_records import given_of, was_cut_off
from perdure.core.execution.crash_loop import fitted
from perdure.core.execution.redrive import takes_back
from perdure.core.letter_record import WHOLE_RUN, LetterRecord
from perdure.core.records import CLEAN_UPS, SET_ASIDE, RunRecord, StepRecord, StepStatus
from perdure.errors import AlreadyRunning, RunError
from perdure.store import lives, parking, pieces, set_aside
from perdure.store.rows import ENDED, GONE_ON_WITH, checked
from perdure.store.statements import load

if TYPE_CHECKING:
    from perdure.core.execution.known_records import IndexRow
    from perdure.core.execution.run_effects import HolderInfo
    from perdure.store.run_rows import RunRows

_SQL = load("due_letters.sql")


def gone_on_with(store: RunRows, connection: apsw.Connection, run: RunRecord, now: float) -> tuple[str, ...]:
    """A run is gone on with: if it has failed, what an undoing that has failed would take back, it stands on again.

    Its next end decides anew. What may be undone in part, it makes again.

    Returns:
        A line about each of both, and about each call that is made again as it was edited.
    """
    edited = set_aside.made_as_edited(store, connection, run)
    if run.status not in GONE_ON_WITH:
        return tuple(edited)
    parked = _letters(store, connection, run.rid, "parked")
    undoings = [letter for letter in parked if _kind(store, connection, letter) == "undone"]
    again = let_go_of_parts(store, connection, run.rid, now)
    superseded = [one for one in undoings if store.record_in(connection, run.rid, one.seq).status == "dead"]
    for letter in superseded:
        supersede(store, connection, letter, now)
    lids = {letter.seq: letter.lid for letter in undoings}
    lines = []
    for seq, name in sorted(again.items()):
        stays = f"dead letter {lids[seq]} stays parked" if seq in lids else "its dead letter is not parked any more"
        lines.append(
            f"run {run.id} makes a call again that {name} may have taken back in part: that was broken off once, and "
            f"has failed; {stays}"
        )
    for letter in superseded:
        name = store.record_in(connection, run.rid, letter.seq).name
        lines.append(
            f"run {run.id} stands on what {name} has failed to take back: dead letter {letter.lid} is superseded"
        )
    return (*lines, *edited)


def redriven(store: RunRows, connection: apsw.Connection, rid: int) -> tuple[int, HolderInfo] | None:
    """A letter of a run, or of one of its child runs, that is being re-driven, and by whom; None if there is none.

    Nobody goes on with the run, ends it or forks it meanwhile: it would not see what comes of that, nor undo it.
    """
    rows = connection.execute(_SQL["redriven"], (rid,)).fetchall()
    for letter in (checked(LetterRecord, row, store.path) for row in rows):
        if (by := _redriven_by(store, connection, letter)) is not None:
            return letter.lid, by
    return None


def executed(store: RunRows, connection: apsw.Connection, run: RunRecord) -> tuple[RunRecord, HolderInfo] | None:
    """Which of a run and those that it is a child of is executed, and by whom; None if none is."""
    while True:
        by = None if run.holder is None else store.holder.living(connection, run.holder)
        if by is not None:
            return run, by
        if run.parent is None:
            return None
        run = store.run_in(connection, run.parent)


def let_go_of_parts(store: RunRows, connection: apsw.Connection, rid: int, now: float) -> dict[int, str]:
    """Take back what may be undone in part: its undoing was broken off (a death, Ctrl-C, a timeout), and has failed.

    The call is made again, under another idempotency key, and has an undoing of its own. The letter of the one that has
    failed stays as it is: nothing but its redrive takes the rest back.

    Returns:
        The numbers of those undoings, and their names.
    """
    for letter in _letters(store, connection, rid, "parked"):
        if letter.holder is not None and _redriven_by(store, connection, letter) is None:
            died(store, connection, letter, now)
    rows: list[Any] = connection.execute(_SQL["dead_undone"], (rid,)).fetchall()
    if not rows:
        return {}
    cut = {(life.name, life.key, life.n) for life in lives.list_in(connection, rid, store.path)}
    found = {
        seq: name
        for seq, name, key, n in rows
        if (fitted(name), key, n) in cut or _was_cut_off(store, connection, rid, store.record_in(connection, rid, seq))
    }
    for seq in found:
        store.take_back(connection, rid, _taken(store, connection, rid, store.record_in(connection, rid, seq)))
        _put_status(store, connection, rid, seq, "abandoned")
    return found


def index_to_stand_on(store: RunRows, connection: apsw.Connection, rid: int, now: float) -> list[IndexRow]:
    """The index of the records of a run that is to be forked, without what may be undone in part."""
    if parking.are_there(connection):
        let_go_of_parts(store, connection, rid, now)
    return store.index_in(connection, rid)


def broken_off(
    store: RunRows, connection: apsw.Connection, letter: LetterRecord, token: str, now: float, cause: str
) -> None:
    """The process of that token was left, or has died, while it re-drove a letter: its call may be made, or in part."""
    if letter.seq != WHOLE_RUN:
        record = store.record_in(connection, letter.run, letter.seq)
        tries = max([record.attempts, *(one.number for one in store.attempts_in(connection, letter.run, record))])
        cut = lives.Cut(record.name, record.key, record.n, tries + 1, letter.changed)
        lives.add(connection, letter.run, token, [cut], now, cause)


def died(store: RunRows, connection: apsw.Connection, letter: LetterRecord, now: float) -> None:
    """The process that re-drove a letter has died within that, if one has."""
    if letter.holder is not None:
        broken_off(store, connection, letter, store.holder.known_as(connection, letter.holder).token, now, cause="")


def undone_with_its_parent(store: RunRows, connection: apsw.Connection, rid: int, now: float) -> None:
    """A child run that was done is undone and may be called again: what it had deferred is due once more then."""
    connection.execute(_SQL["drop_deferred"], (rid,))
    for letter in _letters(store, connection, rid, "parked"):
        if _kind(store, connection, letter) == "deferred" and _redriven_by(store, connection, letter) is None:
            supersede(store, connection, letter, now)
    for (seq,) in connection.execute(_SQL["dead_deferred"], (rid,)).fetchall():
        lift(store, connection, rid, seq)


def cancelled(store: RunRows, connection: apsw.Connection, rid: int, now: float) -> None:
    """A run has ended for good: of what it and its child runs have left, nothing but clean-ups is made any more."""
    for one in store.family_in(connection, rid):
        for letter in _letters(store, connection, one, "parked"):
            if _kind(store, connection, letter) not in CLEAN_UPS and _redriven_by(store, connection, letter) is None:
                died(store, connection, letter, now)
                parking.put(connection, letter, status="superseded", holder=None, changed=now)


def revive(store: RunRows, connection: apsw.Connection, rid: int, now: float) -> None:
    """A fork stands on records of a run that was cancelled: the letters of its calls are due again."""
    for letter in _letters(store, connection, rid, "superseded"):
        if letter.seq != WHOLE_RUN and _kind(store, connection, letter) not in CLEAN_UPS:
            parking.put(connection, letter, status="parked", changed=now)


def undoing_forked(
    store: RunRows, connection: apsw.Connection, letter: LetterRecord, before: int, fork: int, now: float
) -> Literal["call", "settled", "in part"]:
    """The run of a parked letter is forked: if the letter is an undoing, see that what it would take back stays one.

    The fork stands on that, and its own end decides anew.

    Args:
        store: the state file.
        connection: of the transaction.
        letter: which.
        before: the fork has the records below this number; 0: none.
        fork: the number of the fork.
        now: seconds since the epoch.

    Returns:
        What it is: no undoing; one that is superseded by that; or one that was broken off once, and is not settled: the
        fork makes the call again, and the letter takes back what the source has left.

    Raises:
        RunError: it is, and the fork would make again what stands still, or stand on it and not undo it.
    """
    if _kind(store, connection, letter) != "undone":
        return "call"
    let_go_of_parts(store, connection, letter.run, now)
    if store.record_in(connection, letter.run, letter.seq).status == "abandoned":
        return "in part"
    run = store.run_in(connection, letter.run)
    stood_on = 0 < _undoes(store, connection, letter) < before
    if run.status == "cancelled" or (run.status != "done" and not stood_on):
        then = "never take that back" if stood_on else "make it once more"
        raise RunError(
            f"dead letter {letter.lid} is an undoing of run {run.id} that has failed: what it takes back stands still, "
            f"and a fork would {then}",
            f"run `perdure dlq redrive {letter.lid}` first, or leave it: perdure dlq drop {letter.lid}",
        )
    supersede(store, connection, letter, now)
    if letter.seq < before:
        lift(store, connection, fork, letter.seq)
    return "settled"


def refuse(
    store: RunRows, connection: apsw.Connection, letter: LetterRecord, run: RunRecord, *, undoable: bool = False
) -> None:
    """See that a parked letter may be re-driven; `undoable`: its call can be undone.

    Raises:
        RunError: its run, or one that this is a child of, has ended in a way that leaves it nothing to be done for.
        AlreadyRunning: it is an undoing, or can be undone, and its run is executed at this moment.
    """
    kind = _kind(store, connection, letter)
    in_part = kind == "undone" and store.record_in(connection, letter.run, letter.seq).status == "abandoned"
    if in_part and (again := _made_again(store, connection, letter)) is not None:
        raise _stands_on_it(store, connection, letter, *again)
    if kind == "undone" and not in_part and run.status == "done":
        raise RunError(
            f"dead letter {letter.lid} would take back what run {run.id} stands on, which is done",
            f"drop it: perdure dlq drop {letter.lid}",
        )
    if (kind == "undone" or undoable) and (found := executed(store, connection, run)) is not None:
        above, by = found
        what = "is an undoing" if kind == "undone" else "is a call with undo="
        raise AlreadyRunning(
            f"dead letter {letter.lid} {what} of run {above.id}, which pid {by.pid} on {by.host} executes",
            "wait until that run has ended",
        )
    if kind not in CLEAN_UPS and (above_it := _cancelled_with(store, connection, run)) is not None:
        raise of_cancelled(letter, above_it)


def why_superseded(store: RunRows, connection: apsw.Connection, letter: LetterRecord) -> RunError:
    """That a letter is superseded, and by what."""
    run = store.run_in(connection, letter.run)
    above = _cancelled_with(store, connection, run)
    if letter.seq and store.record_in(connection, letter.run, letter.seq).n >= SET_ASIDE:
        hint = (
            f"see `perdure show {quote(run.id)}`: its call was taken back, and is made again when the run comes to it"
        )
    elif _kind(store, connection, letter) in CLEAN_UPS:
        hint = f"see `perdure show {quote(run.id)}`: the run was resumed, and its next end decides what is cleaned up"
    elif above is not None and above.superseded_by is None:
        return of_cancelled(letter, above)
    else:
        hint = f"see `perdure ps`: a fork of run {run.id} makes its call again"
    return RunError(f"dead letter {letter.lid} is superseded", hint)


def of_cancelled(letter: LetterRecord, run: RunRecord) -> RunError:
    """That nothing is made any more of what a cancelled run has left."""
    return RunError(
        f"dead letter {letter.lid} is of run {run.id}, which was cancelled: nothing would take back what it makes now",
        f"see `perdure show {quote(run.id)}`; start a new run, or make a fork of this one with `perdure fork`",
    )


def refuse_redriven(store: RunRows, connection: apsw.Connection, letter: LetterRecord, then: str) -> None:
    """See that nobody re-drives a letter.

    Raises:
        AlreadyRunning: somebody does.
    """
    by = _redriven_by(store, connection, letter)
    if by is not None:
        raise being_redriven(letter.lid, by, then)


def supersede(store: RunRows, connection: apsw.Connection, letter: LetterRecord, now: float) -> None:
    """The clean-up of a letter is not due any more by that; the next end that it is due at makes it."""
    parking.put(connection, letter, status="superseded", holder=None, changed=now)
    lift(store, connection, letter.run, letter.seq)


def lift(store: RunRows, connection: apsw.Connection, rid: int, seq: Any) -> None:
    """Of a clean-up, say that it has failed and is not given up: see History."""
    _put_status(store, connection, rid, seq, "failed")


def _put_status(store: RunRows, connection: apsw.Connection, rid: int, seq: int, status: StepStatus) -> None:
    record = msgspec.structs.replace(store.record_in(connection, rid, seq), status=status).sealed(rid)
    connection.execute(_SQL["put_status"], (record.status, record.crc, rid, seq))


def _letters(store: RunRows, connection: apsw.Connection, rid: int, status: str) -> list[LetterRecord]:
    rows = connection.execute(_SQL["letters"], (rid, status)).fetchall()
    return [checked(LetterRecord, row, store.path) for row in rows]


def _cancelled_with(store: RunRows, connection: apsw.Connection, run: RunRecord) -> RunRecord | None:
    """Of the run itself and those that it is a child of, the topmost that was cancelled; None if none was."""
    line = (run, *store.parents_in(connection, run))
    return next((one for one in reversed(line) if one.status == "cancelled"), None)


def _undoes(store: RunRows, connection: apsw.Connection, letter: LetterRecord) -> int:
    """The number of the record that an undoing would take back; 0 if there is none."""
    taken = _taken(store, connection, letter.run, store.record_in(connection, letter.run, letter.seq))
    return taken[0] if taken else 0


def _taken(store: RunRows, connection: apsw.Connection, rid: int, undoing: StepRecord) -> tuple[int, ...]:
    """The numbers of the records that go with what an undoing takes back."""
    notes = (seq for seq, *_, kind in store.index_in(connection, rid) if kind == "undo")
    records = (pieces.whole(connection, store.record_in(connection, rid, seq), store.path) for seq in notes)
    return takes_back(undoing, records)


def _made_again(store: RunRows, connection: apsw.Connection, letter: LetterRecord) -> tuple[RunRecord, int] | None:
    """The run that has made the call again that a broken-off undoing takes back, with the result that the undoing is
    called with, and the number of that record; None if neither its run nor a fork of that has."""
    undoing = pieces.whole(connection, store.record_in(connection, letter.run, letter.seq), store.path)
    undoing = msgspec.structs.replace(undoing, status="dead")
    given = undoing.input if letter.input is None else pieces.whole(connection, letter, store.path).input
    rid: int | None = letter.run
    while rid is not None:
        run = store.run_in(connection, rid)
        if taken := _taken(store, connection, rid, undoing):
            made, note = (pieces.whole(connection, store.record_in(connection, rid, seq), store.path) for seq in taken)
            if given_of((made if made.status == "done" else note).output) == given:
                return run, made.seq
        rid = run.superseded_by
    return None


def _stands_on_it(
    store: RunRows, connection: apsw.Connection, letter: LetterRecord, run: RunRecord, seq: int
) -> RunError:
    """That a letter would take back what was made again since; a letter of that is re-driven first."""
    again = f"dead letter {letter.lid} would take back the call that run {run.id} has made again, with the same result"
    for one in _letters(store, connection, run.rid, "parked"):
        if _kind(store, connection, one) == "undone" and _undoes(store, connection, one) == seq:
            return RunError(
                f"{again}, and whose undoing has failed as well",
                f"run `perdure dlq redrive {one.lid}` first: that letter is of the newer one",
            )
    if run.status in ENDED:
        return RunError(
            f"{again}, and which stands",
            "see with the service whether what the first call made is still there, and take that back there; then drop "
            f"the letter: perdure dlq drop {letter.lid}",
        )
    return RunError(
        f"{again}, and has not ended", f"wait until run {run.id} has ended: that decides whether it is undone"
    )


def _was_cut_off(store: RunRows, connection: apsw.Connection, rid: int, undoing: StepRecord) -> bool:
    attempts = store.attempts_in(connection, rid, undoing)
    errors = [pieces.whole(connection, undoing, store.path, inputs=False).output, *(each.error for each in attempts)]
    return any(map(was_cut_off, errors))


def _kind(store: RunRows, connection: apsw.Connection, letter: LetterRecord) -> str:
    return "run" if letter.seq == WHOLE_RUN else store.record_in(connection, letter.run, letter.seq).kind


def _redriven_by(store: RunRows, connection: apsw.Connection, letter: LetterRecord) -> HolderInfo | None:
    return None if letter.holder is None else store.holder.living(connection, letter.holder)
