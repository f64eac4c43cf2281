"""Open waits, and the signals that they take.

What a wait finds, what it takes and its record are one transaction; so are leaving a run to its waits and looking for
what would prevent that. The mailbox is that of the root: the waits of a child run take what was sent to its root.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import apsw

from perdure.core.execution.spec import Call
from perdure.core.execution.waiting import CloseWait, OpenWait, SetAside, Wait
from perdure.core.records import SEQ, RunRecord, is_time
from perdure.core.waits import Letter, Open, RunEnd, Standing, View, Wanted, earliest, named, same_end, verdict
from perdure.errors import StateError
from perdure.store import pieces, sessions
from perdure.store.group_commit import Operation
from perdure.store.rows import ENDED, corrupt, sealed, sound
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("waits.sql")

CallId = tuple[int, str, bytes, int]
"""A wait: the number of its run, its name, its key, and which occurrence it is."""


class WaitRow(NamedTuple):
    """A row of an open wait: one alternative, in the order of the columns."""

    run: int
    name: str
    key: bytes
    n: int
    position: int
    event: str | None
    topic: str | None
    awaited: int | None
    began: float
    due: float | None
    crc: int

    @property
    def call(self) -> CallId:
        """Whose row it is."""
        return self[:4]


class Waiting(NamedTuple):
    """A wait of a running workflow: its run and that run's root, the call, and what it waits for.

    `live` are the waits of the family that are waited for at this moment; None while a resumed run has not come to all
    of them again. `clock` is the time of day, asked inside of the transaction.
    """

    rid: int
    root: int
    call: Call
    wait: Wait
    live: Collection[CallId] | None
    clock: Callable[[], float]

    @property
    def id(self) -> CallId:
        """Its identity."""
        return (self.rid, self.call.spec.name, self.call.key, self.call.n)


def look(store: Store, waiting: Waiting) -> Callable[[apsw.Connection], View]:
    """A question: how a wait stands.

    It raises NotFound if a run is awaited that does not exist, and StateCorrupt.
    """
    return lambda connection: _look(store, connection, waiting)


def opening(store: Store, waiting: Waiting, effect: OpenWait) -> Operation:
    """An operation that writes down what a wait waits for; returns a View."""

    def operation(connection: apsw.Connection) -> View:
        store.check_owned(connection, waiting.rid)
        view = _look(store, connection, waiting)
        connection.execute(_SQL["drop"], waiting.id)
        rows = []
        for position, (one, began) in enumerate(zip(effect.wait.wanted, view.began, strict=True)):
            topic = one.topic if one.event is not None else None
            awaited = _awaited(store, connection, one)
            due = one.due(began)
            limit = None if due is None else float(due)
            rows.append(sealed(*waiting.id, position, one.event, topic, awaited, float(began), limit))
        connection.executemany(_SQL["add"], rows)
        return View(view.now, view.began, view.found, open=True)

    return operation


def closing(store: Store, waiting: Waiting, effect: CloseWait) -> Operation:
    """An operation that writes the record of a wait, if it has ended as the effect says; else it returns a View."""

    def operation(connection: apsw.Connection) -> View | None:
        store.check_owned(connection, waiting.rid)
        view = _look(store, connection, waiting)
        end = verdict(effect.wait.wanted, view)
        position = getattr(end, "position", None)
        if not same_end(end, effect.end) or (position is not None and view.found[position] != effect.found):
            return view
        store.insert_row(connection, effect.row)
        connection.execute(_SQL["drop"], waiting.id)
        if isinstance(effect.found, Letter):
            _mark(store, connection, effect.found.sid, "taken", effect.row[SEQ], None)
        return None

    return operation


def setting_aside(store: Store, waiting: Waiting, effect: SetAside) -> Operation:
    """An operation that sets a signal aside; returns a View."""

    def operation(connection: apsw.Connection) -> View:
        store.check_owned(connection, waiting.rid)
        _mark(store, connection, effect.letter.sid, "aside", None, effect.reason)
        return _look(store, connection, waiting)

    return operation


def suspending(
    store: Store, root: RunRecord, waits: Sequence[Waiting], deadlines: Sequence[float | None], patience: float
) -> Operation:
    """An operation that leaves a run to its waits, unless one of them is decided.

    Args:
        store: the state file.
        root: the run, which this process executes with all its child runs.
        waits: all that its branches are in.
        deadlines: when the time of the run is over, in seconds since the epoch.
        patience: seconds; a run that may go on so soon is not left.

    It returns the runs that were left, the root first; empty if it was not.
    """

    def operation(connection: apsw.Connection) -> list[RunRecord]:
        store.check_owned(connection, root.rid)
        moments = list(deadlines)
        found = 0.0
        for one in waits:
            view = _look(store, connection, one)
            end = verdict(one.wait.wanted, view)
            if not isinstance(end, Open) or not view.open:
                return []
            moments.append(end.until)
            found = view.now
        wake = earliest(moments)
        if wake is not None and wake - found <= patience:
            return []
        numbers: list[Any] = connection.execute(_SQL["family"], (root.rid,)).fetchall()
        runs = [store.run_in(connection, rid) for (rid,) in numbers]
        if any(run.stop is not None for run in runs):
            return []
        live = {one.id for one in waits}
        for row in _rows(store, connection, "of_family", root.rid):
            if row.call not in live:
                connection.execute(_SQL["drop"], row.call)
        left = []
        for run in runs:
            due = wake if run.rid == root.rid else None
            left.append(store.put_run(connection, run, status="suspended", holder=None, wake=due, stopped=None))
            sessions.end(connection, run, sessions.SUSPENDED, found)
            store.locks.suspend(connection, run.rid)
        return left

    return operation


def give_up(store: Store, waiting: Waiting) -> None:
    """The workflow has given a wait up: with the next commit it is not open any more.

    It is put back if what it was given up for turns out to end the run.
    """
    with suppress(StateError):  # the next commit tells
        rows = store.journal.read(lambda connection: _rows(store, connection, "rows", *waiting.id))
        store.given_up_waits.add(waiting.rid, waiting.call, rows)
    store.journal.ahead(_SQL["drop"], waiting.id)


def standing(store: Store, connection: apsw.Connection, rid: int) -> list[Standing]:
    """What a run and its child runs wait for, the wait that began first at the front.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    return _standing(store, connection, _rows(store, connection, "of_family", rid))


def standing_of(store: Store, rid: int) -> list[Standing]:
    """The same, in a question of its own."""
    found: list[Standing] = store.journal.read(lambda connection: standing(store, connection, rid))
    return found


class Stuck(NamedTuple):
    """A wait that began long ago: the run that is known to people, when it began, and what it waits for."""

    root: RunRecord
    began: float
    what: str


def stuck(store: Store, before: float) -> list[Stuck]:
    """The waits for signals and other runs that began before that moment, in seconds since the epoch; the oldest.

    Raises:
        StateError: the file cannot be read.
    """

    def question(connection: apsw.Connection) -> list[Stuck]:
        found = []
        calls: Any = connection.execute(_SQL["stuck"], (before,)).fetchall()
        for call in calls:
            rows = _standing(store, connection, _rows(store, connection, "rows", *call))
            what = ", ".join(named(row) for row in rows if row.event is not None or row.run is not None)
            found.append(Stuck(store.root_in(connection, call[0]), min(row.began for row in rows), what))
        return found

    result: list[Stuck] = store.journal.read(question)
    return result


# -- inside of a transaction ------------------------------------------------------------------------------------------


def _standing(store: Store, connection: apsw.Connection, rows: Sequence[WaitRow]) -> list[Standing]:
    found = []
    for row in rows:
        awaited = None if row.awaited is None else store.run_in(connection, row.awaited).id
        found.append(Standing(row.name, row.event, row.topic, awaited, row.began, row.due))
    return found


def _look(store: Store, connection: apsw.Connection, waiting: Waiting) -> View:
    now = float(waiting.clock())
    wanted = waiting.wait.wanted
    rows = {row.position: row for row in _rows(store, connection, "rows", *waiting.id)}
    began, found, known = [], [], len(rows) == len(wanted)
    for position, one in enumerate(wanted):
        row = rows.get(position)
        awaited = _awaited(store, connection, one)
        same = row is not None and (row.event, row.topic or "", row.awaited) == (one.event, one.topic, awaited)
        start = row.began if row is not None and same else now
        if start > now:
            start, same = now, False  # the clock was set back: the wait is not to be longer than it says
        began.append(start)
        due = one.due(start)
        known = known and same and row is not None and row.due == due
        found.append(_found(store, connection, waiting, one, awaited, start, due))
    return View(now, tuple(began), tuple(found), open=known)


def _found(
    store: Store,
    connection: apsw.Connection,
    waiting: Waiting,
    one: Wanted,
    awaited: int | None,
    began: float,
    due: float | None,
) -> Letter | RunEnd | None:
    if awaited is not None:
        run = store.run_in(connection, awaited)
        if run.status not in ENDED:
            return None
        output = pieces.whole(connection, run, store.path).output
        return RunEnd(run.status, run.started if run.ended is None else run.ended, output)
    if one.event is None:
        return None
    before = _before(store, connection, waiting, one, began)
    limit = math.inf if due is None else due
    letter = connection.execute(_SQL["letters"], (waiting.root, one.event, one.topic, limit, before)).fetchone()
    if letter is None:
        return None
    _check_letter(store, letter)
    sid, _, _, _, _, value, stamp, *_ = letter
    return Letter(sid, stamp, value)


def _before(store: Store, connection: apsw.Connection, waiting: Waiting, one: Wanted, began: float) -> int:
    """How many open waits of the family come first: those of the same event that began earlier."""
    mine = (began, waiting.id)
    others = {
        row.call
        for row in _rows(store, connection, "of_family", waiting.root)
        if (row.event, row.topic or "") == (one.event, one.topic)
        and row.call != waiting.id
        and (waiting.live is None or row.call in waiting.live)
        and (row.began, row.call) < mine
    }
    return len(others)


def _awaited(store: Store, connection: apsw.Connection, one: Wanted) -> int | None:
    return None if one.run is None else store.newest_of(connection, store.run_by_id(connection, one.run)).rid


def _rows(store: Store, connection: apsw.Connection, query: str, *values: Any) -> list[WaitRow]:
    rows: list[Any] = connection.execute(_SQL[query], values).fetchall()
    if not all(sound(row) and is_time(row[8]) and is_time(row[9]) for row in rows):
        raise corrupt(store.path)
    return [WaitRow(*row) for row in rows]


def _mark(
    store: Store, connection: apsw.Connection, sid: int, status: str, seq: int | None, reason: str | None
) -> None:
    row: Any = connection.execute(_SQL["letter"], (sid,)).fetchone()
    _check_letter(store, row)
    *said, _, _, _, _ = row
    (*_, crc) = sealed(*said, status, seq, reason)
    connection.execute(_SQL["put_letter"], (status, seq, reason, crc, sid))


def _check_letter(store: Store, row: Any) -> None:
    if row is None or not sound(row) or not is_time(row[6]):
        raise corrupt(store.path)
