"""Claims: which run a worker goes on with next, taken in the transaction that finds it.

Suspended runs that are due come first, then those whose process has died, then queued ones. A run that a person has
stopped (running, without a holder) is not touched, nor is one on hold, nor one of a workflow that the claimer has not
loaded.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from perdure.core.execution.run_effects import Start, Taken
from perdure.core.records import RunRecord
from perdure.store import command_lines, lives, pieces, queue, queue_order, sessions
from perdure.store.liveness import seems_alive
from perdure.store.locks import asker
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("claims.sql")

LOCKED = 1_000
"""Runs that are looked at to find one whose workflow's lock is free."""


class Offer(msgspec.Struct, frozen=True):
    """A workflow that the claimer has loaded: the path of its script, and the lock that its runs take, if any."""

    path: str
    lock: str | None = None


Served = Mapping[tuple[str, str], Offer]
"""By the identity of the script and the name of the workflow."""


class Executed(msgspec.Struct, frozen=True):
    """A run that a process executes, or executed when it died. `token` is what the process goes by."""

    rid: int
    script: str
    workflow: str
    holder: int
    token: str


def left_by_dead(store: Store, served: Served) -> list[Executed]:
    """The runs of these workflows whose process has died.

    Raises:
        StateError: the file cannot be read.
    """
    mine = [one for one in executed(store) if (one.script, one.workflow) in served]
    dead = {token: not seems_alive(store.path, token) for token in {one.token for one in mine}}
    return [one for one in mine if dead[one.token]]


def executed(store: Store) -> list[Executed]:
    """Each run that is executed, or was when its process died.

    Raises:
        StateError: the file cannot be read.
    """
    return [Executed(*row) for row in _all(store, "executed")]


def claim(
    store: Store,
    served: Served,
    most: int,
    now: float,
    *,
    crashed: Collection[Executed] = (),
    queues: Collection[str] = (),
    others: bool = True,
) -> list[Taken]:
    """Take up to `most` runs that are to go on; each is this process's from then on, and has to be executed.

    Args:
        store: the state file.
        served: what this process has loaded.
        most: how many at most.
        now: seconds since the epoch.
        crashed: the runs that may be taken from these dead processes: their crashes have been written down. From
            a process that has taken one since, and died too, it is not taken: nobody has looked at that death.
        queues: only queued runs of these queues; empty: of all, and those without one.
        others: also runs that are due or queued.

    Raises:
        StateError: the file cannot be used; nothing was taken.
    """
    if most < 1 or not served:
        return []
    claiming = Claim(store, served, most, now, crashed=crashed, queues=queues, others=others)
    taken: list[Taken] = store.journal.write((), claiming)
    return taken


class Claim:
    """The same as an operation of a transaction, for who ends runs in it; see `claim`.

    With a `line`, only runs of that command line, packed, are taken; those of the others that could be are `elsewhere`.
    `later` is when the rate of a queue lets its next run begin, in seconds since the epoch, if one waits for that.
    """

    def __init__(
        self,
        store: Store,
        served: Served,
        most: int,
        now: float,
        *,
        crashed: Collection[Executed] = (),
        queues: Collection[str] = (),
        others: bool = True,
        line: bytes | None = None,
    ) -> None:
        self._store, self._served, self._most, self._now = store, served, most, now
        self._crashed = {one.rid: one.holder for one in crashed}
        self._queues, self._others = queues, others
        self._line = line
        self.elsewhere: set[bytes] = set()
        self.later: float | None = None
        self._who = asker(alone=True)  # runs that a worker executes at the same time have nothing to do with each other
        self._found: list[Taken] = []

    def __call__(self, connection: apsw.Connection) -> list[Taken]:
        """Take them."""
        self._store.check_sound(connection)
        self._found = []
        self.elsewhere.clear()
        self.later = None
        self._queued = queue.Served()
        if self._others:
            about = (self._now, json.dumps(list(self._served)), self._most + LOCKED)
            due: Any = connection.execute(_SQL["due"], about).fetchall()
            self._go_on(connection, [rid for rid, *_ in due])
        if self._crashed:
            rows: Any = connection.execute(_SQL["executed"]).fetchall()
            left = [
                rid
                for rid, *place, holder, _ in rows
                if self._crashed.get(rid) == holder and tuple(place) in self._served
            ]
            self._go_on(connection, left)
        if self._others and not self._line:  # a queued run has no command line
            self._begin(connection)
        self._store.tell_of_room(connection)  # where this has begun fewer than were over
        return self._found

    def _go_on(self, connection: apsw.Connection, rids: Sequence[int]) -> None:
        """Take those that have begun before, as far as their queues let them."""
        for rid in rids:
            if len(self._found) == self._most:
                return
            run = self._store.run_in(connection, rid)
            elsewhere = self._queues and run.queue is not None and run.queue not in self._queues
            if not elsewhere and queue_order.has_slot(self._store, connection, run):
                self._take(connection, run)

    def _begin(self, connection: apsw.Connection) -> None:
        """Take queued ones, each as the queues have it after those before."""
        if len(self._found) == self._most:
            return
        waiting = queue_order.Waiting(self._store, connection, self._now, self._served.keys(), self._queues)
        passed = 0
        while len(self._found) < self._most and passed < LOCKED:
            rid = waiting.following()
            if rid is None:
                self.later = min((one.moment for one in waiting.later()), default=None)
                return
            if self._take(connection, self._store.run_in(connection, rid)):
                waiting.took()
            else:  # its lock is taken
                passed += 1

    def _take(self, connection: apsw.Connection, run: RunRecord) -> bool:
        start = _start(run, self._served[run.script, run.workflow])
        if (
            self._line is not None
            and (line := command_lines.packed(connection, run.rid, self._store.path)) != self._line
        ):
            if self._store.locks.obstacle(connection, start.lock, self._who, rid=run.rid) is None:
                self.elsewhere.add(line)
            return False
        answer = self._store.take_over(connection, run, start, self._now, self._who, self._queued)
        if not isinstance(answer, Taken):
            return False
        whole = pieces.whole(connection, answer.run, self._store.path)
        self._found.append(msgspec.structs.replace(answer, run=whole))
        return True


def _start(run: RunRecord, offer: Offer) -> Start:
    return Start(
        script=run.script,
        path=offer.path,
        workflow=run.workflow,
        key=run.key,
        input=run.input,
        fresh="",
        rid=run.rid,
        lock=offer.lock,
    )


def lines_of(store: Store, rids: Sequence[int]) -> dict[int, bytes]:
    """The command lines of these runs, packed; empty: none.

    Raises:
        StateError: the file cannot be read.
    """
    found: dict[int, bytes] = store.journal.read(
        lambda connection: {rid: command_lines.packed(connection, rid, store.path) for rid in rids}
    )
    return found


def give_back(
    store: Store,
    run: RunRecord,
    now: float,
    *,
    hold: str | None = None,
    stopped: bytes | None = None,
    cut: Sequence[lives.Cut] = (),
    wake: float | None = None,
) -> bool:
    """A run that this process had goes on elsewhere, or later, or when somebody has acted.

    Args:
        store: the state file.
        run: which.
        now: seconds since the epoch.
        hold: why it is not to be claimed again; None: it is due.
        stopped: the error that it is on hold for, packed (`verdicts.pack_stop`).
        cut: the calls in whose middle it was left.
        wake: when it is due; None: now.

    Returns:
        Whether it was: not if it has ended, or another process has it.

    Raises:
        StateError: that could not be written.
    """

    def operation(connection: apsw.Connection) -> bool:
        found = store.run_in(connection, run.rid)
        mine = found.holder is None or store.holder.is_me(found.holder)
        if found.status != "running" or not mine:
            return False
        due = now if wake is None else wake
        stop = found.stopped if stopped is None else stopped
        store.put_run(connection, found, status="suspended", holder=None, wake=due, hold=hold, stopped=stop)
        sessions.end(connection, found, sessions.SUSPENDED, now)
        if hold is None:
            store.locks.suspend(connection, run.rid)
        else:
            store.locks.leave(connection, run.rid)
        lives.add(connection, run.rid, store.holder.token, cut, now)
        return True

    given: bool = store.journal.write((), operation)
    store.let_go(run)
    return given


def next_moment(store: Store, now: float) -> float | None:
    """When the next suspended or queued run is due, after now; None if no run is, by time.

    Raises:
        StateError: the file cannot be read.
    """
    found: list[float] = [moment for (moment,) in _all(store, "next_moment", now) if moment is not None]
    rate: float | None = store.journal.read(lambda connection: queue_order.next_moment(store, connection, now))
    return min(found if rate is None else [*found, rate], default=None)


def next_by_rate(
    store: Store, now: float, workflows: Collection[tuple[str, str]], queues: Collection[str] = ()
) -> list[queue_order.Later]:
    """The queues of which a run of these workflows waits for the rate alone, and until when; see `claim`.

    Raises:
        StateError: the file cannot be read.
    """
    found: list[queue_order.Later] = store.journal.read(
        lambda connection: queue_order.next_by_rate(store, connection, now, workflows, queues)
    )
    return found


def overdue(store: Store, before: float) -> list[RunRecord]:
    """The runs that were due before that moment, in seconds since the epoch; the oldest of them, if there are many.

    Raises:
        StateError: the file cannot be read.
    """
    return [store.run_by_number(rid) for (rid,) in _all(store, "overdue", before)]


def sleeping(store: Store) -> int:
    """How many runs wait for a time.

    Raises:
        StateError: the file cannot be read.
    """
    count: int = _all(store, "sleeping")[0][0]
    return count


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchall())
    return rows
