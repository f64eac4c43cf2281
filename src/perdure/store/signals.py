"""Signals: what is sent to a run is kept until a wait takes it. Here is the sender's side.

The mailbox is that of the root: a child run's waits look for what was sent to the run that it belongs to, however deep.
What is stored and what makes the run ready is one transaction, so that nothing is sent to a run that sleeps on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apsw
import msgspec

from perdure.core import commands
from perdure.core.execution.run_effects import HolderInfo
from perdure.core.records import RESERVED, RunRecord, is_time
from perdure.core.signal_size import refuse_large
from perdure.core.values import artifact_names
from perdure.errors import AlreadyDecided, NotFound, RunHasEnded
from perdure.store import pieces
from perdure.store.group_commit import Operation
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.runs import Store
from perdure.store.statements import load
from perdure.store.waits import WaitRow

_SQL = load("signals.sql")

Outcome = Literal["taken", "stored", "repeated"]
"""`taken`: an open wait of it was there; `stored`: it is kept for one to come; `repeated`: its id was sent before."""


class Letter(NamedTuple):
    """A signal that was sent to a run, in the order of the columns.

    `run` is the number of the root, `topic` what users call its key. `status` is "stored", "taken" (by the wait whose
    record has the number `seq`) or "aside": its value did not fit, and `reason` says why. `stamp` is when it was
    stored, in seconds since the epoch.
    """

    sid: int
    run: int
    event: str
    topic: str
    id: str | None
    value: bytes
    stamp: float
    status: str
    seq: int | None
    reason: str | None
    crc: int


class Sent(msgspec.Struct, frozen=True):
    """What came of sending: `run` is the root as it stood, `by` the living process that executes it."""

    outcome: Outcome
    run: RunRecord
    by: HolderInfo | None
    letter: Letter


def send(
    store: Store,
    run: str,
    event: str,
    topic: str,
    value: bytes,
    id: str | None = None,
    *,
    clock: Callable[[], float] = time.time,
    check: Callable[[apsw.Connection, RunRecord, float], None] | None = None,
) -> Operation:
    """An operation that stores a signal, and makes the run ready if it waits for it; returns Sent.

    Args:
        store: the state file.
        run: the id of the run, of a child of it, or of a run that it is a fork of.
        event: the name.
        topic: the key.
        value: packed.
        id: unique among the signals of the run; sent again, nothing is stored.
        clock: the time of day, in seconds since the epoch; asked inside of the transaction.
        check: may refuse what is not "repeated", by raising an error.

    Raises:
        TooLarge: at once, if the value is.
        NotFound, RunHasEnded: in the operation; nothing is stored then.
    """
    refuse_large(f"the value of signal {event!r}", value)

    def operation(connection: apsw.Connection) -> Sent:
        root = root_of(store, connection, run)
        by = None if root.holder is None else store.holder.living(connection, root.holder)
        if id is not None and (before := known(store, connection, root.rid, id)) is not None:
            return Sent("repeated", root, by, before)
        if root.status in ("done", "cancelled"):
            raise RunHasEnded(
                f"run {root.id} is {root.status}: no wait of it takes a signal any more",
                "start a new run, and send the signal to that",
            )
        stamp = float(clock())
        if check is not None:
            check(connection, root, stamp)
        waited = [wait for wait in waits_for(store, connection, root.rid, event, topic) if not is_over(wait, stamp)]
        (stored,) = connection.execute(_SQL["stored"], (root.rid, event, topic)).fetchone()  # type: ignore[misc]
        (sid,) = next(connection.execute(_SQL["next_number"]))
        letter = sealed(sid, root.rid, event, topic, id, value, stamp, "stored", None, None)
        connection.execute(_SQL["add"], letter)
        if artifact_names.seen:
            pieces.use_artifacts(connection, [(root.rid, name) for name in artifact_names.named_in(value)])
        if waited and root.status == "suspended" and (root.wake is None or root.wake > stamp):
            root = store.put_run(connection, root, wake=stamp)
        return Sent("taken" if len(waited) > stored else "stored", root, by, Letter(*letter))

    return operation


def by_link(
    store: Store,
    run: str,
    event: str,
    topic: str,
    value: bytes,
    nonce: str,
    *,
    clock: Callable[[], float] = time.time,
) -> Operation:
    """An operation that sends the one signal of a link; returns Sent, "repeated" if the same was sent with it before.

    Args:
        store, run, event, topic, value, clock: as for `send`.
        nonce: of the link.

    Raises:
        NotFound, RunHasEnded, TooLarge: as `send`.
        AlreadyDecided: in the operation: something else was sent with it, or the time of the wait is over.
    """

    def check(connection: apsw.Connection, root: RunRecord, stamp: float) -> None:
        waits = waits_for(store, connection, root.rid, event, topic)
        if waits and all(is_over(wait, stamp) for wait in waits):
            raise AlreadyDecided(
                f"run {root.id} does not wait for {event!r} any more: its time is over",
                f"see `{commands.show(root.id)}`",
            )

    operation = send(store, run, event, topic, value, f"{RESERVED}link:{nonce}", clock=clock, check=check)

    def once(connection: apsw.Connection) -> Sent:
        sent: Sent = operation(connection)
        if sent.outcome == "repeated" and sent.letter.value != value:
            raise used_before()
        return sent

    return once


def used_before() -> AlreadyDecided:
    """The error for a second signal of one link."""
    return AlreadyDecided("this link was used before, with another value", "use a link of its own for each signal")


def root_of(store: Store, connection: apsw.Connection, run: str) -> RunRecord:
    """The run whose mailbox is meant: of a child, the run that it belongs to; of a forked run, the newest fork.

    Raises:
        NotFound: there is no run of that id.
    """
    found = store.standing_for(connection, run)
    if found is None:
        raise NotFound(f"there is no run {run!r} {store.place}", "list the runs with `perdure ps`")
    seen = {found.rid}
    while found.parent is not None:
        found = store.newest_of(connection, store.run_in(connection, found.parent))
        if found.rid in seen:
            raise corrupt(store.path)
        seen.add(found.rid)
    return found


def waits_for(store: Store, connection: apsw.Connection, rid: int, event: str, topic: str) -> list[WaitRow]:
    """The open waits of a root and its child runs for an event, the one that began first at the front.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    rows: list[Any] = connection.execute(_SQL["waits"], (rid, event, topic)).fetchall()
    if not all(map(sound, rows)):
        raise corrupt(store.path)
    return sorted((WaitRow(*row) for row in rows), key=lambda wait: wait.began)


def is_over(wait: WaitRow, stamp: float) -> bool:
    """Does the timeout of a wait go before a signal of that moment, however late the wait is woken?"""
    return wait.due is not None and stamp > wait.due


def known(store: Store, connection: apsw.Connection, rid: int, id: str) -> Letter | None:
    """What was sent to a root under that id.

    Raises:
        StateCorrupt: the row is not as it was written.
    """
    row: Any = connection.execute(_SQL["known"], (rid, id)).fetchone()
    return None if row is None else _letter(row, store.path)


def hand_on(store: Store, connection: apsw.Connection, source: int, fork: int) -> None:
    """A fork has the mailbox of its source, a root; what was taken by waits that it makes again is given again.

    Called when the fork has the records and the child runs that it keeps.

    Args:
        store: the state file.
        connection: inside of a transaction.
        source: the number of the root.
        fork: that of its fork.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    rows: list[Any] = connection.execute(_SQL["all_of_run"], (source,)).fetchall()
    for letter in [_letter(row, store.path) for row in rows if row[7] != "aside"]:
        status, seq = letter.status, letter.seq
        if status == "stored":
            connection.execute(_SQL["drop"], (letter.sid,))
        elif connection.execute(_SQL["record"], (fork, letter.seq, letter.event)).fetchone() is None:
            status, seq = "stored", None
        (sid,) = next(connection.execute(_SQL["next_number"]))
        about = (letter.event, letter.topic, letter.id, letter.value, letter.stamp)
        connection.execute(_SQL["add"], sealed(sid, fork, *about, status, seq, None))


def not_taken(store: Store, rid: int) -> list[Letter]:
    """What was sent to a root and not taken yet, or was set aside, the oldest first.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL["of_run"], (rid,)).fetchall())
    return [_letter(row, store.path) for row in rows]


def all_of(store: Store, rid: int) -> list[Letter]:
    """What was sent to a root, in the order of sending, also what a wait has taken.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL["all_of_run"], (rid,)).fetchall())
    return [_letter(row, store.path) for row in rows]


def _letter(row: Any, path: Path) -> Letter:
    if not sound(row) or not is_time(row[6]):
        raise corrupt(path)
    return Letter(*row)
