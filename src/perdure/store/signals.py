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

from perdure.core.execution.run import HolderInfo
from perdure.core.records import RunRecord, is_time
from perdure.core.values import artifact_names
from perdure.errors import NotFound, RunHasEnded, TooLarge
from perdure.store import pieces
from perdure.store.group_commit import Operation
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("signals.sql")

LARGEST = 1_000_000
"""Bytes of a value, packed. What is larger lies in a file, and its path or artifact is sent."""

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


class OpenWait(NamedTuple):
    """A row of an open wait, in the order of the columns."""

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
    if len(value) > LARGEST:
        raise TooLarge(
            f"the value of signal {event!r} takes {len(value):,} bytes, more than {LARGEST:,}",
            "keep large data in a file or in a perdure.artifact, and send what names it",
        )

    def operation(connection: apsw.Connection) -> Sent:
        root = root_of(store, connection, run)
        by = None if root.holder is None else store.holder.living(connection, root.holder)
        if id is not None and (known := _known(connection, store.path, root.rid, id)) is not None:
            return Sent("repeated", root, by, known)
        if root.status in ("done", "cancelled"):
            raise RunHasEnded(
                f"run {root.id} is {root.status}: no wait of it takes a signal any more",
                "start a new run, and send the signal to that",
            )
        stamp = float(clock())
        if check is not None:
            check(connection, root, stamp)
        waited = [wait for wait in waits_for(store, connection, root.rid, event, topic) if not is_over(wait, stamp)]
        (before,) = connection.execute(_SQL["stored"], (root.rid, event, topic)).fetchone()  # type: ignore[misc]
        (sid,) = next(connection.execute(_SQL["next_number"]))
        letter = sealed(sid, root.rid, event, topic, id, value, stamp, "stored", None, None)
        connection.execute(_SQL["add"], letter)
        if artifact_names.seen:
            pieces.use_artifacts(connection, [(root.rid, name) for name in artifact_names.named_in(value)])
        if waited and root.status == "suspended" and (root.wake is None or root.wake > stamp):
            root = store.put_run(connection, root, wake=stamp)
        return Sent("taken" if len(waited) > before else "stored", root, by, Letter(*letter))

    return operation


def root_of(store: Store, connection: apsw.Connection, run: str) -> RunRecord:
    """The run whose mailbox is meant: of a child, the run that it belongs to; of a forked run, the newest fork.

    Raises:
        NotFound: there is no run of that id.
    """
    found = store.standing_for(connection, run)
    if found is None:
        raise NotFound(f"there is no run {run!r} in {store.path}", "list the runs with `perdure ps`")
    seen = {found.rid}
    while found.parent is not None:
        found = store.newest_of(connection, store.run_in(connection, found.parent))
        if found.rid in seen:
            raise corrupt(store.path)
        seen.add(found.rid)
    return found


def waits_for(store: Store, connection: apsw.Connection, rid: int, event: str, topic: str) -> list[OpenWait]:
    """The open waits of a root and its child runs for an event, the one that began first at the front.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    rows: list[Any] = connection.execute(_SQL["waits"], (rid, event, topic)).fetchall()
    if not all(map(sound, rows)):
        raise corrupt(store.path)
    return sorted((OpenWait(*row) for row in rows), key=lambda wait: wait.began)


def is_over(wait: OpenWait, stamp: float) -> bool:
    """Does the timeout of a wait go before a signal of that moment, however late the wait is woken?"""
    return wait.due is not None and stamp > wait.due


def not_taken(store: Store, rid: int) -> list[Letter]:
    """What was sent to a root and not taken yet, or was set aside, the oldest first.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL["of_run"], (rid,)).fetchall())
    return [_letter(row, store.path) for row in rows]


def _known(connection: apsw.Connection, path: Path, rid: int, id: str) -> Letter | None:
    row: Any = connection.execute(_SQL["known"], (rid, id)).fetchone()
    return None if row is None else _letter(row, path)


def _letter(row: Any, path: Path) -> Letter:
    if not sound(row) or not is_time(row[6]):
        raise corrupt(path)
    return Letter(*row)
