"""Queues: runs that wait for their turn, and which of them is next.

A queued run has a *turn* as soon as it may begin. The first waiting run of each key has the lowest turn, the second the
next one, so that serving by (priority, turn, number) serves no key twice before all that wait were served once. A new
run's turn follows the last one that was served at its priority (`queue_turn`) and the last one of its key.

Limits are counted, in the transaction that claims, from the runs of living processes: a death leaves nothing behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import apsw

from perdure.config.script_identity import source_digest
from perdure.core.execution.queueing import DEFAULT, QueuedRun, other_inputs
from perdure.core.records import RunRecord
from perdure.store.awaited_ends import ENDED
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.statements import load

if TYPE_CHECKING:
    from pathlib import Path

    from perdure.store.holders import Holder

_SQL = load("queue.sql")

PUT_OUTPUT = _SQL["put_output"]

PRIORITY = 5
"""Of runs that were queued without one."""

READ_AT_ONCE = 100
"""Waiting runs that are read at a time."""

AFTER_OTHERS = "the runs before it have not ended"
"""Why a run of a schedule is on hold that begins after others of it."""

AT_ONCE = 1_000
"""Runs that get their turn in one transaction, when their time has come."""


class Runs(Protocol):
    """The runs of a state file, in a transaction."""

    path: Path
    holder: Holder

    def run_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run of that number."""

    def find_in(self, connection: apsw.Connection, id: str) -> RunRecord | None:
        """The run of that id."""

    def next_run_in(self, connection: apsw.Connection) -> int:
        """The number of the next run."""

    def insert_run(self, connection: apsw.Connection, run: RunRecord) -> RunRecord:
        """Add a run."""

    def put_run(self, connection: apsw.Connection, run: RunRecord, **changed: Any) -> RunRecord:
        """Change a run."""


class QueueRow(NamedTuple):
    """A queue that was declared, or paused; None: no limit. `rate` runs begin in so many `seconds`, one at `free`."""

    name: str
    concurrency: int | None = None
    per_key: int | None = None
    rate: int | None = None
    seconds: float | None = None
    paused: int = 0
    declared: float = 0.0
    free: float | None = None


class Executing(NamedTuple):
    """How many runs of a queue living processes execute, in all and by key."""

    total: int
    by_key: dict[str | None, int]


# -- queueing ---------------------------------------------------------------------------------------------------------


def add(
    store: Runs, connection: apsw.Connection, queued: Sequence[QueuedRun], now: float, ended: list[RunRecord]
) -> list[str]:
    """Queue runs, or find those that their ids or dedup keys stand for; returns the ids, in their order.

    Args:
        store: the state file.
        connection: in its transaction.
        queued: the runs.
        now: in seconds since the epoch.
        ended: the runs are added to it that an id stands for, and that have ended.

    Raises:
        OtherInputs: an id stands for a run with other inputs. Nothing has been written.
    """
    found: dict[str | tuple[str, str, str], QueuedRun | RunRecord] = {}
    for each in queued:
        if each.start.named and each.start.id is not None:
            before = found.setdefault(each.start.id, each)
            if before is each and (run := store.find_in(connection, each.start.id)) is not None:
                before = found[each.start.id] = run
            _refuse_other(before, each)
    ids: list[str] = []
    made: set[str] = set()
    turns: dict[tuple[Any, ...], int] = {}
    rid = store.next_run_in(connection)
    for each in queued:
        start = each.start
        same: tuple[str, str, str] | None = None if each.dedup is None else (start.workflow, start.script, each.dedup)
        if same is not None and same not in found:
            row: Any = connection.execute(_SQL["find_dedup"], same).fetchone()
            if row is not None:
                found[same] = store.run_in(connection, row[0])
        known = found.get(same) if same is not None else None
        if known is None and start.named and start.id is not None and isinstance(found[start.id], RunRecord):
            known = found[start.id]
        if known is not None:
            ids.append(known.id)
            if isinstance(known, RunRecord) and known.status in ENDED and known not in ended:
                ended.append(known)
            continue
        if start.id is not None and start.id in made:  # the same id twice among these
            ids.append(start.id)
            continue
        store.insert_run(connection, _record(connection, rid, each, now, turns))
        rid += 1
        if same is not None:
            found[same] = each
        ids.append(each.id)
        made.add(each.id)
    return ids


def add_one(store: Runs, connection: apsw.Connection, queued: QueuedRun, now: float) -> RunRecord:
    """Queue a run whose id no other has."""
    return store.insert_run(connection, _record(connection, store.next_run_in(connection), queued, now, {}))


def let_begin(store: Runs, connection: apsw.Connection, run: RunRecord, now: float) -> RunRecord:
    """A queued run may begin from now on: its time has come, or that for which it was on hold."""
    return _give_turn(store, connection, run, now, {})


def not_queued(run: RunRecord) -> str:
    """What becomes of a run that was enqueued under an id whose run has ended."""
    ways = {
        "done": "its result stands",
        "cancelled": "it stays cancelled; give the new run another id",
        "failed": f"go on with it: perdure resume {quote(run.id)}",
        "parked": "it is a dead letter: perdure dlq ls",
    }
    return f"run {run.id} is not enqueued: an id stands for one run, and that one is {run.status}; {ways[run.status]}"


def _refuse_other(before: QueuedRun | RunRecord, now: QueuedRun) -> None:
    key, workflow, given = (
        (before.key, before.workflow, before.input)
        if isinstance(before, RunRecord)
        else (before.start.key, before.start.workflow, before.start.input)
    )
    if (key, workflow) != (now.start.key, now.start.workflow):
        raise other_inputs(now.id, workflow, given, now.start.workflow, now.start.input)


def _record(
    connection: apsw.Connection, rid: int, queued: QueuedRun, now: float, turns: dict[tuple[Any, ...], int]
) -> RunRecord:
    start = queued.start
    names = (rid, queued.id, start.script, start.path, start.workflow, start.key, True, None)
    later = queued.hold is not None or (queued.wake is not None and queued.wake > now)
    return RunRecord(
        *names,
        status="queued",
        holder=None,
        epoch=0,
        input=start.input,
        output=None,
        created=now,
        started=now,
        ended=None,
        crc=0,
        wake=queued.wake if later else None,
        queue=queued.queue,
        priority=queued.priority,
        queue_key=queued.queue_key,
        dedup=queued.dedup,
        hold=queued.hold,
        turn=None if later else _turn(connection, queued.queue, queued.priority, queued.queue_key, turns),
    )


def _turn(
    connection: apsw.Connection, queue: str, priority: int, key: str | None, turns: dict[tuple[Any, ...], int]
) -> int:
    """The turn of a new run; `turns` remembers, within a transaction, what the file said."""
    served = turns.get((queue, priority))
    if served is None:
        row: Any = connection.execute(_SQL["get_turn"], (queue, priority)).fetchone()
        served = turns[queue, priority] = 0 if row is None else row[2]
    if key is None:
        return served + 1
    place = (queue, priority, key)
    last = turns.get(place)
    if last is None:
        row = connection.execute(_SQL["last_turn_of_key"], (queue, key, priority)).fetchone()
        last = row[0] or 0
    turn = turns[place] = max(served, last) + 1
    return turn


# -- claiming ---------------------------------------------------------------------------------------------------------


def next_queued(
    store: Runs,
    connection: apsw.Connection,
    now: float,
    workflows: Collection[tuple[str, str]],
    queues: Collection[str] = (),
    passed: Collection[int] = (),
) -> int | None:
    """The number of the run that is to begin next; None if none may. `Store.take_over` begins it, and counts it.

    Called in the transaction that claims it; for more of them at a time there is `Waiting`.

    Args:
        store: the state file.
        connection: in its transaction.
        now: in seconds since the epoch.
        workflows: identity of the script and name of the workflow of those that the claimer can execute.
        queues: only runs of these; empty: of all.
        passed: runs that cannot be had at this moment, since their lock is taken.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    return Waiting(store, connection, now, workflows, queues, passed).following()


class Waiting:
    """The queued runs that may begin, one after the other, in the transaction that claims them.

    Args:
        store, connection, now, workflows, queues, passed: as for `next_queued`.

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
    ) -> None:
        self._store, self._connection, self._now = store, connection, now
        self._workflows, self._passed = workflows, passed
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

    def took(self) -> None:
        """The run that came last has begun."""
        assert self._given is not None
        self._given.took()


class _Line:
    """What waits in one queue, in its order."""

    def __init__(self, waiting: Waiting, name: str, living: dict[int, bool]) -> None:
        self._waiting, self._name = waiting, name
        self._rows: deque[Any] = deque()
        self._after: tuple[int, int, int] | None = (-1, 0, 0)
        self._last: Any = None
        self._row = get(waiting._store.path, waiting._connection, name)
        row = self._row
        limited = row is not None and (row.concurrency is not None or row.per_key is not None)
        self._busy = executing(waiting._store, waiting._connection, name, living) if limited else Executing(0, {})

    def head(self) -> tuple[int, int, str | None] | None:
        """Priority, number and key of the first run that may begin; None if none may."""
        if self._is_shut():
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
            self._row = get(self._waiting._store.path, self._waiting._connection, self._name)

    def _is_shut(self) -> bool:
        row = self._row
        if row is None:
            return False
        late = row.rate is not None and row.free is not None and rate_wait(row, self._waiting._now) > 0
        return bool(row.paused) or late or (row.concurrency is not None and self._busy.total >= row.concurrency)

    def _is_full(self, key: str | None) -> bool:
        most = None if self._row is None else self._row.per_key
        return most is not None and key is not None and self._busy.by_key.get(key, 0) >= most

    def _read(self) -> bool:
        """Read on; are there any?"""
        waiting = self._waiting
        while self._after is not None and not self._rows:
            rows: Any = waiting._connection.execute(
                _SQL["waiting"], (self._name, *self._after, READ_AT_ONCE)
            ).fetchall()
            self._after = rows[-1][:3] if len(rows) == READ_AT_ONCE else None
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


class Served:
    """What is known within one transaction: the turn served last at each priority, which queues have a rate."""

    def __init__(self) -> None:
        self.turns: dict[tuple[str, int], int] = {}
        self.rated: dict[str, bool] = {}
        self._digests: dict[str, bytes | None] = {}

    def digest(self, path: str) -> bytes | None:
        """What stands for the script's file as it is now, looked at once."""
        if path not in self._digests:
            self._digests[path] = source_digest(path)
        return self._digests[path]


def begun(store: Runs, connection: apsw.Connection, run: RunRecord, now: float, served: Served | None = None) -> None:
    """A queued run begins: later ones of its queue come after it, and the rate counts it."""
    if run.queue is None:
        return
    served = Served() if served is None else served
    priority = PRIORITY if run.priority is None else run.priority
    place = (run.queue, priority)
    if place not in served.turns:
        before: Any = connection.execute(_SQL["get_turn"], place).fetchone()
        if before is not None and not sound(before):
            raise corrupt(store.path)
        served.turns[place] = 0 if before is None else before[2]
    if run.turn is not None and run.turn > served.turns[place]:
        served.turns[place] = run.turn
        connection.execute(_SQL["put_turn"], sealed(*place, run.turn))
    if served.rated.get(run.queue, True):
        row = get(store.path, connection, run.queue)
        served.rated[run.queue] = False
        if row is not None and row.rate is not None and row.seconds is not None:
            served.rated[run.queue] = True
            free = now if row.free is None else max(now, min(row.free, now + row.seconds))
            put(connection, row._replace(free=free + row.seconds / row.rate))


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


def _give_turns(store: Runs, connection: apsw.Connection, now: float) -> None:
    """Runs whose time has come, and those that were queued without a turn, get theirs."""
    turns: dict[tuple[Any, ...], int] = {}
    rows: Any = connection.execute(_SQL["not_in_turn"], (now, AT_ONCE)).fetchall()
    for (rid,) in rows:
        _give_turn(store, connection, store.run_in(connection, rid), now, turns)


def _give_turn(
    store: Runs, connection: apsw.Connection, run: RunRecord, now: float, turns: dict[tuple[Any, ...], int]
) -> RunRecord:
    """`started` is since when it might have begun."""
    queue, priority = run.queue or DEFAULT, PRIORITY if run.priority is None else run.priority
    turn = _turn(connection, queue, priority, run.queue_key, turns)
    since = now if run.wake is None else min(max(run.wake, run.created), now)
    changed = {"wake": None, "hold": None, "turn": turn, "queue": queue, "priority": priority, "started": since}
    return store.put_run(connection, run, **changed)


# -- the queues themselves --------------------------------------------------------------------------------------------


def get(path: Path, connection: apsw.Connection, name: str) -> QueueRow | None:
    """The row of a queue; None if it was neither declared nor paused.

    Raises:
        StateCorrupt: it is not as it was written.
    """
    row: Any = connection.execute(_SQL["get_queue"], (name,)).fetchone()
    return None if row is None else checked(row, path)


def checked(row: Any, path: Path) -> QueueRow:
    """A row as it is stored.

    Raises:
        StateCorrupt: it is not as it was written.
    """
    if not sound(row):
        raise corrupt(path)
    return QueueRow(*row[:-1])


def put(connection: apsw.Connection, row: QueueRow) -> None:
    """Write the row of a queue."""
    connection.execute(_SQL["put_queue"], sealed(*row))
