"""What people see and change of the queues of a state file: limits, pauses, what is in them, and where a run stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import apsw
import msgspec

from perdure.core.execution.queueing import DEFAULT
from perdure.core.records import RunRecord
from perdure.store import queue, queue_order
from perdure.store.damaged_rows import if_sound, rows_of
from perdure.store.runs import Store
from perdure.store.statements import load
from perdure.store.workers import living

_SQL = load("queue.sql")

MOST_BEFORE = 1_000
"""Runs of a queue that are counted of those before another: a list of all that wait takes no time with the square."""


def declare(
    store: Store, rows: Sequence[queue.QueueRow], now: float
) -> list[tuple[queue.QueueRow | None, queue.QueueRow]]:
    """Write down what scripts declare; the last declaration counts. Returns what has changed: before, and now."""

    def limits(row: queue.QueueRow | None) -> tuple[Any, ...] | None:
        return None if row is None else (row.concurrency, row.per_key, row.rate, row.seconds)

    def operation(connection: apsw.Connection) -> list[tuple[queue.QueueRow | None, queue.QueueRow]]:
        changed = []
        for row in rows:
            before = queue.get(store.path, connection, row.name)
            if before is not None and before.declared and limits(before) == limits(row):
                continue
            kept = row if before is None else row._replace(paused=before.paused)
            queue.put(connection, kept._replace(declared=float(now)))
            changed.append((before, kept))
        return changed

    same = store.journal.read(
        lambda connection: all(
            (known := queue.get(store.path, connection, row.name)) is not None
            and known.declared
            and limits(known) == limits(row)
            for row in rows
        )
    )
    if same:
        return []
    found: list[tuple[queue.QueueRow | None, queue.QueueRow]] = store.journal.write((), operation)
    return found


def set_paused(store: Store, name: str, paused: bool) -> bool:
    """Let no run of a queue begin, or let them begin again; returns whether that was otherwise before."""

    def operation(connection: apsw.Connection) -> bool:
        row = queue.get(store.path, connection, name) or queue.QueueRow(name)
        queue.put(connection, row._replace(paused=int(paused)))
        return bool(row.paused) != paused

    changed: bool = store.journal.write((), operation)
    return changed


def drain(store: Store, name: str, clock: Callable[[], float]) -> list[int]:
    """Cancel the runs that wait in a queue; returns their numbers. None of them has begun, so nothing is cleaned up."""

    def operation(connection: apsw.Connection) -> list[int]:
        now = clock()
        rows: Any = connection.execute(_SQL["queued_in"], (name, -1)).fetchall()
        rids: list[int] = [rid for (rid,) in rows]
        for rid in rids:
            run = store.run_in(connection, rid)
            store.put_run(connection, run, status="cancelled", ended=now, wake=None, turn=None, hold=None)
        return rids

    drained: list[int] = store.journal.write((), operation)
    return drained


class QueueCounts(msgspec.Struct):
    """What is in a queue: runs that wait, those whose time has not come, and those that living processes execute.

    Its own row, with its limits, may be `damaged`.
    """

    waiting: int = 0
    delayed: int = 0
    executing: int = 0
    damaged: bool = False


def all_queues(store: Store) -> dict[str, tuple[queue.QueueRow | None, QueueCounts]]:
    """Every queue that was declared or paused, or has runs, by name."""

    def question(connection: apsw.Connection) -> dict[str, tuple[queue.QueueRow | None, QueueCounts]]:
        found: dict[str, tuple[queue.QueueRow | None, QueueCounts]] = {}
        for row in rows_of(connection, _SQL["all_queues"]):
            limits = if_sound(partial(queue.checked, row, store.path), lambda: None)
            found[row[0]] = limits, QueueCounts(damaged=limits is None)
        counted: Any = connection.execute(_SQL["counts"]).fetchall()
        for name, queued, delayed, count in counted:
            _, counts = found.setdefault(name, (None, QueueCounts()))
            if queued and delayed:
                counts.delayed += count
            elif queued:
                counts.waiting += count
        for name in {name for name, queued, *_ in counted if not queued}:
            found[name][1].executing = queue_order.executing(store, connection, name, {}).total
        return dict(sorted(found.items()))

    result: dict[str, tuple[queue.QueueRow | None, QueueCounts]] = store.journal.read(question)
    return result


class Place(NamedTuple):
    """Where a queued run stands: `before` it so many in its queue, at most MOST_BEFORE, and what keeps it from
    beginning, if not them.

    `why` is "slots" (all are taken), "key" (of its key), "rate", "paused", "time" (its own has not come), "after" (the
    runs of its schedule before it have not ended), "hold", or "" if it is one of the next.
    """

    queue: str
    before: int
    why: str
    limit: int | None = None


def place_of(store: Store, run: RunRecord, now: float) -> Place:
    """Where a queued run stands.

    Raises:
        StateCorrupt: a row is not as it was written.
    """

    def question(connection: apsw.Connection) -> Place:
        name, priority = run.queue or DEFAULT, queue.PRIORITY if run.priority is None else run.priority
        row = queue.get(store.path, connection, name) or queue.QueueRow(name)
        if run.hold is not None:
            return Place(name, 0, "after" if run.hold == queue.AFTER_OTHERS else "hold")
        if run.turn is None and run.wake is not None and run.wake > now:
            return Place(name, 0, "time")
        last = (1 << 62) if run.turn is None else run.turn
        counted: Any = connection.execute(_SQL["before"], (name, priority, last, run.rid, MOST_BEFORE)).fetchone()
        before: int = counted[0]
        if row.paused:
            return Place(name, before, "paused")
        busy = queue_order.executing(store, connection, name, {})
        if row.concurrency is not None and busy.total >= row.concurrency:
            return Place(name, before, "slots", row.concurrency)
        if row.per_key is not None and run.queue_key is not None and busy.by_key.get(run.queue_key, 0) >= row.per_key:
            return Place(name, before, "key", row.per_key)
        return Place(name, before, "rate" if queue_order.rate_wait(row, now) > 0 else "")

    found: Place = store.journal.read(question)
    return found


class Backlog(NamedTuple):
    """Runs of a workflow that stand in a queue and might have begun: since when the first, and how many."""

    queue: str
    script: str
    workflow: str
    path: str
    since: float
    runs: int


def unserved(store: Store, before: float) -> list[Backlog]:
    """What might have begun before that moment, in seconds since the epoch, and no living worker serves.

    Raises:
        StateError: the file cannot be read.
    """
    rows: Any = store.journal.read(lambda at: at.execute(_SQL["waiting_since"], (before,)).fetchall())
    found = [Backlog(row[0] or DEFAULT, *row[1:]) for row in rows]
    alive = living(store.path) if found else []
    return [one for one in found if not any(each.serves(one.script, one.workflow, one.queue) for each in alive)]
