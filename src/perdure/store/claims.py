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

from perdure.core.execution.run import Start, Taken
from perdure.core.records import RunRecord
from perdure.store import lives, pieces
from perdure.store.group_commit import Operation
from perdure.store.liveness import lives as is_alive
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
    found = [Executed(*row) for row in _all(store, "executed")]
    mine = [one for one in found if (one.script, one.workflow) in served]
    dead = {token: not is_alive(store.path, token) for token in {one.token for one in mine}}
    return [one for one in mine if dead[one.token]]


def executing(store: Store) -> set[str]:
    """What the processes go by that execute runs, or executed them when they died.

    Raises:
        StateError: the file cannot be read.
    """
    return {token for *_, token in _all(store, "executed")}


def claim(
    store: Store,
    served: Served,
    most: int,
    now: float,
    *,
    crashed: Collection[int] = (),
    queues: Collection[str] = (),
    others: bool = True,
) -> list[Taken]:
    """Take up to `most` runs that are to go on; each is this process's from then on, and has to be executed.

    Args:
        store: the state file.
        served: what this process has loaded.
        most: how many at most.
        now: seconds since the epoch.
        crashed: the runs, by number, that may be taken from dead processes: their crashes have been written down.
        queues: only queued runs of these queues; empty: of all, and those without one.
        others: also runs that are due or queued.

    Raises:
        StateError: the file cannot be used; nothing was taken.
    """
    if most < 1 or not served:
        return []
    taken: list[Taken] = store.journal.write((), _claiming(store, served, most, now, crashed, others))
    return taken


def _claiming(store: Store, served: Served, most: int, now: float, crashed: Collection[int], others: bool) -> Operation:
    who = asker()

    def operation(connection: apsw.Connection) -> list[Taken]:
        store.check_sound(connection)
        found: list[Taken] = []
        for rid, script, workflow in _candidates(connection, served, now, crashed, others, most):
            offer = served[script, workflow]
            run = store.run_in(connection, rid)
            answer = store.take_over(connection, run, _start(run, offer), now, who)
            if isinstance(answer, Taken):
                whole = pieces.whole(connection, answer.run, store.path)
                found.append(msgspec.structs.replace(answer, run=whole, resumed=run.status != "queued"))
                if len(found) == most:
                    break
        return found

    return operation


def _candidates(
    connection: apsw.Connection, served: Served, now: float, crashed: Collection[int], others: bool, most: int
) -> Any:
    """Number, script and workflow of the runs that may be taken, those first that come first."""
    pairs = json.dumps(list(served))
    at_once = most + LOCKED
    if others:
        yield from connection.execute(_SQL["due"], (now, pairs, at_once)).fetchall()
    if crashed:
        for rid, script, workflow, *_ in connection.execute(_SQL["executed"]).fetchall():
            if rid in crashed and (script, workflow) in served:
                yield rid, script, workflow
    if others:
        yield from connection.execute(_SQL["queued"], (now, pairs, at_once)).fetchall()


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


def give_back(
    store: Store,
    run: RunRecord,
    now: float,
    *,
    hold: str | None = None,
    cut: Sequence[lives.Cut] = (),
    wake: float | None = None,
) -> bool:
    """A run that this process had goes on elsewhere, or later, or when somebody has acted.

    Args:
        store: the state file.
        run: which.
        now: seconds since the epoch.
        hold: why it is not to be claimed again; None: it is due.
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
        store.put_run(connection, found, status="suspended", holder=None, wake=due, hold=hold)
        if hold is None:
            store.locks.suspend(connection, run.rid)
        else:
            store.locks.leave(connection, run.rid)
        lives.add(connection, run.rid, store.holder.token, cut, now)
        return True

    given: bool = store.journal.write((), operation)
    store.let_go(run)
    return given


def hold_due(store: Store, script: str, reason: str, now: float) -> int:
    """Put the runs of a script on hold that are due, and cannot be executed; returns how many.

    Raises:
        StateError: that could not be written.
    """
    if not _all(store, "due_of_script", now, script):
        return 0

    def operation(connection: apsw.Connection) -> int:
        rids: Any = connection.execute(_SQL["due_of_script"], (now, script)).fetchall()
        for (rid,) in rids:
            store.put_run(connection, store.run_in(connection, rid), hold=reason)
        return len(rids)

    held: int = store.journal.write((), operation)
    return held


def try_again(store: Store, script: str, version: str) -> int:
    """Let the runs of a script go on that an earlier version of it has put on hold; returns how many.

    Args:
        store: the state file.
        script: its identity.
        version: of the script as it is now; `hold` begins with that of then.

    Raises:
        StateError: that could not be written.
    """

    def operation(connection: apsw.Connection) -> int:
        rows: Any = connection.execute(_SQL["set_aside"], (script,)).fetchall()
        edited = [rid for rid, hold in rows if not hold.startswith(f"{version} ")]
        for rid in edited:
            store.put_run(connection, store.run_in(connection, rid), hold=None)
        return len(edited)

    if not _all(store, "set_aside", script):
        return 0
    freed: int = store.journal.write((), operation)
    return freed


def next_moment(store: Store, now: float) -> float | None:
    """When the next suspended or queued run is due, after now; None if no run is, by time.

    Raises:
        StateError: the file cannot be read.
    """
    moment: float | None = _all(store, "next_moment", now)[0][0]
    return moment


def overdue(store: Store, before: float) -> list[RunRecord]:
    """The runs that were due before that moment, in seconds since the epoch; the oldest of them, if there are many.

    Raises:
        StateError: the file cannot be read.
    """
    return [store.run_by_number(rid) for (rid,) in _all(store, "overdue", before)]


def any_due(store: Store, now: float) -> bool:
    """Is a run due, whoever may execute it?

    Raises:
        StateError: the file cannot be read.
    """
    return bool(_all(store, "is_due", now))


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
