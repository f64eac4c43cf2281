"""Queues: the rows of them, and the runs that are put into one and begin. Which run is next: `queue_order`.

A queued run has a *turn* as soon as it may begin. The first waiting run of each key has the lowest turn, the second the
next one, so that serving by (priority, turn, number) serves no key twice before all that wait were served once. A new
run's turn follows the last one that was served at its priority (`queue_turn`) and the last one of its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import apsw

from perdure.config.script_identity import source_digest
from perdure.core.execution.queueing import DEFAULT, QueuedRun
from perdure.core.records import RunRecord
from perdure.store.rows import ENDED, corrupt, sealed, sound
from perdure.store.statements import load

if TYPE_CHECKING:
    from pathlib import Path

    from perdure.core.execution.run_effects import Start
    from perdure.store.holders import Holder

_SQL = load("queue.sql")

PRIORITY = 5
"""Of runs that were queued without one."""

AFTER_OTHERS = "the runs before it have not ended"
"""Why a run of a schedule is on hold that begins after others of it."""


class Runs(Protocol):
    """The runs of a state file, in a transaction."""

    path: Path
    holder: Holder

    def run_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run of that number."""

    def find_in(self, connection: apsw.Connection, id: str) -> RunRecord | None:
        """The run of that id."""

    def find_same(self, connection: apsw.Connection, start: Start) -> RunRecord | None:
        """The run of the same inputs, if they are run to their end once."""

    def next_run_in(self, connection: apsw.Connection) -> int:
        """The number of the next run."""

    def insert_run(self, connection: apsw.Connection, run: RunRecord) -> RunRecord:
        """Add a run."""

    def insert_runs(self, connection: apsw.Connection, runs: Sequence[RunRecord]) -> None:
        """Add runs that have numbers."""

    def keep_defaults(self, connection: apsw.Connection, start: Start) -> None:
        """Keep the defaults of a workflow of which a run is made."""

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


# -- queueing ---------------------------------------------------------------------------------------------------------


def add(
    store: Runs, connection: apsw.Connection, queued: Sequence[QueuedRun], now: float, ended: list[RunRecord]
) -> list[str]:
    """Queue runs, or find those that their ids, dedup keys or inputs stand for; returns the ids, in their order.

    Args:
        store: the state file.
        connection: in its transaction.
        queued: the runs.
        now: in seconds since the epoch.
        ended: the runs are added to it that an id stands for, or inputs that are run once, and that have ended.

    Raises:
        OtherInputs: an id stands for a run with other inputs. Nothing has been written.
    """
    first = queued[0]
    about: Any = (first.start.id, first.queue, first.priority)
    before_adding: Any = connection.execute(_SQL["before_adding"], about).fetchone()
    rid, known_rid, *turn = before_adding
    turns: dict[tuple[Any, ...], int] = {(first.queue, first.priority): _checked_turn(store.path, turn)}
    found: dict[str | tuple[str, str, str | bytes], QueuedRun | RunRecord] = {}
    for each in queued:
        if each.start.named and each.start.id is not None:
            before = found.setdefault(each.start.id, each)
            if before is each and (each is not first or known_rid is not None):
                run = store.find_in(connection, each.start.id)
                before = found[each.start.id] = each if run is None else run
            if before is not each:
                _refuse_other(before, each)
    ids: list[str] = []
    made: dict[str, RunRecord] = {}
    for each in queued:
        start = each.start
        id = start.id or start.fresh
        if start.named or start.once or each.dedup is not None:
            known = _known(store, connection, each, found)
            if known is not None:
                ids.append(known.id)
                if isinstance(known, RunRecord) and known.status in ENDED and known not in ended:
                    ended.append(known)
                continue
            if id in made:  # the same id twice among these
                ids.append(id)
                continue
            if each.dedup is not None:
                found[start.workflow, start.script, each.dedup] = each
        if start.defaults is not None:
            store.keep_defaults(connection, start)
        made[id] = _record(store, connection, rid + len(made), id, each, now, turns)
        ids.append(id)
    store.insert_runs(connection, list(made.values()))
    return ids


def _known(
    store: Runs,
    connection: apsw.Connection,
    queued: QueuedRun,
    found: dict[str | tuple[str, str, str | bytes], QueuedRun | RunRecord],
) -> QueuedRun | RunRecord | None:
    """What the dedup key, the id or the inputs of a run stand for: a run that is there, or one that comes before it."""
    start = queued.start
    known: QueuedRun | RunRecord | None = None
    if queued.dedup is not None:
        same = (start.workflow, start.script, queued.dedup)
        if same not in found:
            row: Any = connection.execute(_SQL["find_dedup"], same).fetchone()
            if row is not None:
                found[same] = store.run_in(connection, row[0])
        known = found.get(same)
    if known is None and start.named and start.id is not None and isinstance(found[start.id], RunRecord):
        known = found[start.id]
    if known is None and start.once:
        inputs = (start.workflow, start.script, start.key)
        if inputs not in found and (run := store.find_same(connection, start)) is not None:
            found[inputs] = run
        before = found.setdefault(inputs, queued)
        known = None if before is queued else before
    return known


def add_one(store: Runs, connection: apsw.Connection, queued: QueuedRun, now: float) -> RunRecord:
    """Queue a run whose id no other has."""
    rid = store.next_run_in(connection)
    return store.insert_run(connection, _record(store, connection, rid, queued.id, queued, now, {}))


def let_begin(store: Runs, connection: apsw.Connection, run: RunRecord, now: float) -> RunRecord:
    """A queued run may begin from now on: its time has come, or that for which it was on hold."""
    return give_turn(store, connection, run, now, {})


def not_queued(run: RunRecord) -> str:
    """What becomes of a run that was enqueued under an id, or with inputs, whose run has ended."""
    ways = {
        "done": "its result stands",
        "cancelled": "it stays cancelled; give the new run another id",
        "failed": f"go on with it: perdure resume {quote(run.id)}",
        "parked": "it is a dead letter: perdure dlq ls",
    }
    what = "an id stands for one run" if run.named else "its inputs are run once"
    return f"run {run.id} is not enqueued: {what}, and that one is {run.status}; {ways[run.status]}"


def _refuse_other(before: QueuedRun | RunRecord, now: QueuedRun) -> None:
    key, workflow, given = (
        (before.key, before.workflow, before.input)
        if isinstance(before, RunRecord)
        else (before.start.key, before.start.workflow, before.start.input)
    )
    if (key, workflow) != (now.start.key, now.start.workflow):
        from perdure.core.execution.run_refusals import other_inputs

        raise other_inputs(now.id, workflow, given, now.start.workflow, now.start.input)


def _record(
    store: Runs,
    connection: apsw.Connection,
    rid: int,
    id: str,
    queued: QueuedRun,
    now: float,
    turns: dict[tuple[Any, ...], int],
) -> RunRecord:
    start, wake = queued.start, queued.wake
    named = not start.once  # by its inputs a run is found that is the only one of them
    later = queued.hold is not None or (wake is not None and wake > now)
    turn = None if later else _turn(store, connection, queued.queue, queued.priority, queued.queue_key, turns)
    names = (rid, id, start.script, start.path, start.workflow, start.key, named, None)
    # By their places, which takes a third of the time: a call may queue thousands.
    return RunRecord(
        *names,
        "queued",
        None,
        0,
        start.input,
        None,
        now,
        now,
        None,
        0,
        None,  # no stop, no fork, nothing that it was left for
        None,
        None,
        None,
        None,
        None,
        None,
        wake if later else None,
        queued.queue,
        queued.priority,
        queued.queue_key,
        queued.dedup,
        queued.hold,
        turn,
    )


def _turn(
    store: Runs,
    connection: apsw.Connection,
    queue: str,
    priority: int,
    key: str | None,
    turns: dict[tuple[Any, ...], int],
) -> int:
    """The turn of a new run; `turns` remembers, within a transaction, what the file said."""
    served = turns.get((queue, priority))
    if served is None:
        served = turns[queue, priority] = _turn_served(store.path, connection, queue, priority)
    if key is None:
        return served + 1
    place = (queue, priority, key)
    last = turns.get(place)
    if last is None:
        row: Any = connection.execute(_SQL["last_turn_of_key"], (queue, key, priority)).fetchone()
        last = row[0] or 0
    turn = turns[place] = max(served, last) + 1
    return turn


def _turn_served(path: Path, connection: apsw.Connection, queue: str, priority: int) -> int:
    """The turn of a queue that began last at a priority.

    Raises:
        StateCorrupt: its row is not as it was written.
    """
    row: Any = connection.execute(_SQL["get_turn"], (queue, priority)).fetchone()
    return 0 if row is None else _checked_turn(path, row)


def _checked_turn(path: Path, row: Sequence[Any]) -> int:
    """The same of its row, of which all is None if there is none."""
    if row[0] is None:
        return 0
    if not sound(row):
        raise corrupt(path)
    turn: int = row[2]
    return turn


# -- beginning ---------------------------------------------------------------------------------------------------------


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
        served.turns[place] = _turn_served(store.path, connection, *place)
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


def give_turn(
    store: Runs, connection: apsw.Connection, run: RunRecord, now: float, turns: dict[tuple[Any, ...], int]
) -> RunRecord:
    """A queued run gets its turn; `started` is since when it might have begun."""
    queue, priority = run.queue or DEFAULT, PRIORITY if run.priority is None else run.priority
    turn = _turn(store, connection, queue, priority, run.queue_key, turns)
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
