"""Which queued run begins next: by turn, within the limits of its queue, unless the queue is paused.

Limits are counted, in the transaction that claims, from the runs of living processes: a death leaves nothing behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any, NamedTuple

import apsw

from perdure.core.records import RunRecord
from perdure.store.queue import QueueRow, Runs, get, give_turn
from perdure.store.statements import load

_SQL = load("queue.sql")

READ_FIRST = 10
"""Waiting runs that are read at first: who claims one run mostly needs one."""

READ_AT_ONCE = 100
"""Waiting runs that are read at a time after those."""

AT_ONCE = 250
"""Runs that get their turn in one claim, when their time has come: the first of many that are due begins after them."""


class Executing(NamedTuple):
    """How many runs of a queue living processes execute, in all and by key."""

    total: int
    by_key: dict[str | None, int]


class Later(NamedTuple):
    """A queue whose rate lets its next run begin at that moment, in seconds since the epoch."""

    queue: str
    moment: float


class Waiting:
    """The queued runs that may begin, one after the other, in the transaction that claims them.

    `Store.take_over` begins a run, and counts it.

    Args:
        store: the state file.
        connection: in the transaction that claims them.
        now: in seconds since the epoch.
        workflows: identity of the script and name of the workflow of those that the claimer can execute.
        queues: only runs of these; empty: of all.
        passed: runs that cannot be had at this moment, since their lock is taken.
        turns: give those their turn whose time has come; False: nothing is written.

    Raises:
        StateCorrupt: a row is not as it was written.
    """

    def __init__(
        self,
        store: Runs,
        connection: apsw.Connection,
        now: float,
        workflows: Collection[tuple[str, str]],
        queues: Collection[str] = (),
        passed: Collection[int] = (),
        *,
        turns: bool = True,
    ) -> None:
        self._store, self._connection, self._now = store, connection, now
        self._workflows, self._passed = workflows, passed
        if turns:
            _give_turns(store, connection, now)
        living: dict[int, bool] = {}
        self._lines: list[_Line] = []
        name = ""
        while (row := connection.execute(_SQL["next_waiting_queue"], (name,)).fetchone()) is not None:
            (name,) = row
            if not queues or name in queues:
                self._lines.append(_Line(self, name, living))

    def following(self) -> int | None:
        """The number of the run that is to begin next; None if none may. It comes once; say `took` if it begins."""
        best: _Line | None = None
        for line in self._lines:
            head = line.head()
            if head is not None and (best is None or head[:2] < best.head()[:2]):  # type: ignore[index]
                best = line
        self._given = best
        return None if best is None else best.pop()

    def later(self) -> list[Later]:
        """The queues of which a run waits for the rate alone."""
        return [Later(line.name, self._now + line.late) for line in self._lines if line.late and line.head(late=True)]

    def took(self) -> None:
        """The run that came last has begun."""
        assert self._given is not None
        self._given.took()


class _Line:
    """What waits in one queue, in its order."""

    def __init__(self, waiting: Waiting, name: str, living: dict[int, bool]) -> None:
        self._waiting, self.name = waiting, name
        self._rows: deque[Any] = deque()
        self._after: tuple[int, int, int] | None = (-1, 0, 0)
        self._last: Any = None
        self._most = READ_FIRST
        self._row = get(waiting._store.path, waiting._connection, name)
        row = self._row
        limited = row is not None and (row.concurrency is not None or row.per_key is not None)
        self._busy = executing(waiting._store, waiting._connection, name, living) if limited else Executing(0, {})

    @property
    def late(self) -> float:
        """In how many seconds the rate lets the next one begin."""
        return 0.0 if self._row is None else rate_wait(self._row, self._waiting._now)

    def head(self, *, late: bool = False) -> tuple[int, int, str | None] | None:
        """Priority, number and key of the first run that may begin; None if none may.

        `late`: the rate is left aside.
        """
        if self._is_shut() or (self.late and not late):
            return None
        while self._rows or self._read():
            rid, priority, key = self._rows[0]
            if not self._is_full(key):
                return priority, rid, key
            self._rows.popleft()
        return None

    def pop(self) -> int:
        """Take the head out of the line."""
        self._last = rid, _, _ = self._rows.popleft()
        return int(rid)

    def took(self) -> None:
        """What was popped has begun."""
        *_, key = self._last
        row, (total, by_key) = self._row, self._busy
        by_key[key] = by_key.get(key, 0) + 1
        self._busy = Executing(total + 1, by_key)
        if row is not None and row.rate is not None:
            self._row = get(self._waiting._store.path, self._waiting._connection, self.name)

    def _is_shut(self) -> bool:
        row = self._row
        if row is None:
            return False
        return bool(row.paused) or (row.concurrency is not None and self._busy.total >= row.concurrency)

    def _is_full(self, key: str | None) -> bool:
        most = None if self._row is None else self._row.per_key
        return most is not None and key is not None and self._busy.by_key.get(key, 0) >= most

    def _read(self) -> bool:
        """Read on; are there any?"""
        waiting = self._waiting
        while self._after is not None and not self._rows:
            rows: Any = waiting._connection.execute(_SQL["waiting"], (self.name, *self._after, self._most)).fetchall()
            self._after = rows[-1][:3] if len(rows) == self._most else None
            self._most = READ_AT_ONCE
            for priority, _, rid, script, workflow, key, hold in rows:
                if hold is None and (script, workflow) in waiting._workflows and rid not in waiting._passed:
                    self._rows.append((rid, priority, key))
        return bool(self._rows)


def has_slot(store: Runs, connection: apsw.Connection, run: RunRecord) -> bool:
    """May a run of a queue go on that was suspended, or whose process has died? Not if that makes one too many.

    A pause and the rate are for runs that begin.
    """
    row = None if run.queue is None else get(store.path, connection, run.queue)
    if row is None or (row.concurrency is None and row.per_key is None):
        return True
    now = executing(store, connection, row.name, {})
    if row.concurrency is not None and now.total >= row.concurrency:
        return False
    return row.per_key is None or run.queue_key is None or now.by_key.get(run.queue_key, 0) < row.per_key


def executing(store: Runs, connection: apsw.Connection, queue: str, living: dict[int, bool]) -> Executing:
    """How many runs of a queue living processes execute; `living` remembers who lives."""
    total, by_key = 0, dict[str | None, int]()
    rows: Any = connection.execute(_SQL["executing"], (queue,)).fetchall()
    for holder, key, count in rows:
        if holder not in living:
            living[holder] = store.holder.is_me(holder) or store.holder.living(connection, holder) is not None
        if living[holder]:
            total += count
            by_key[key] = by_key.get(key, 0) + count
    return Executing(total, by_key)


def rate_wait(row: QueueRow, now: float) -> float:
    """In how many seconds the rate lets the next run begin. A clock that was set back makes that no longer."""
    if row.rate is None or row.seconds is None or row.free is None:
        return 0.0
    return max(0.0, min(row.free - now, row.seconds / row.rate))


def next_moment(store: Runs, connection: apsw.Connection, now: float) -> float | None:
    """When the rate of a queue lets its next waiting run begin; None if no run waits for that alone."""
    moments: list[float] = []
    queue = ""
    while (row := connection.execute(_SQL["next_waiting_queue"], (queue,)).fetchone()) is not None:
        (queue,) = row
        known = get(store.path, connection, queue)
        if known is not None and not known.paused and (wait := rate_wait(known, now)) > 0:
            moments.append(now + wait)
    return min(moments, default=None)


def next_by_rate(
    store: Runs,
    connection: apsw.Connection,
    now: float,
    workflows: Collection[tuple[str, str]],
    queues: Collection[str] = (),
) -> list[Later]:
    """The queues of which a run of these workflows waits for the rate alone; arguments as for `Waiting`."""
    return Waiting(store, connection, now, workflows, queues, turns=False).later()


def _give_turns(store: Runs, connection: apsw.Connection, now: float) -> None:
    """Runs whose time has come, and those that were queued without a turn, get theirs."""
    turns: dict[tuple[Any, ...], int] = {}
    rows: Any = connection.execute(_SQL["not_in_turn"], (now, AT_ONCE)).fetchall()
    for (rid,) in rows:
        give_turn(store, connection, store.run_in(connection, rid), now, turns)
