"""The rows of schedules and their ticks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import apsw
import msgspec

from perdure.core.records import is_time
from perdure.core.tick_verdicts import Missed, Outcome, Overlap
from perdure.errors import NotFound
from perdure.store.rows import UNREADABLE, corrupt, sealed, sound
from perdure.store.statements import load

SQL = load("schedules.sql")

Status = Literal["active", "paused", "undeclared"]
Origin = Literal["script", "call"]


class Declared(msgspec.Struct, frozen=True):
    """What code declares of a schedule.

    Attributes:
        name: its name.
        script, path, workflow: what it runs, as a run has them.
        spec, tz, overlap, missed, within, spread: as `@workflow` takes them; seconds.
        queue: where its runs stand; None: in none.
        key, input: digest and packed form of the arguments of each run.
    """

    name: str
    script: str
    path: str
    workflow: str
    spec: str
    tz: str
    overlap: Overlap
    missed: Missed
    within: float
    spread: float
    queue: str | None
    key: bytes
    input: bytes


class Schedule(Declared, frozen=True):
    """A schedule as it was declared last, and how far its ticks have been decided. Times: seconds since the epoch.

    Attributes:
        since: when counting began.
        last: up to when its ticks have been decided.
        due: when the next one begins; None: never, or not while it is paused or undeclared.
        seen: when it was looked at last.
        status: "active", "paused" by hand, or "undeclared": its script no longer has it.
        origin: "script": declared where a script is loaded; "call": by a call of `perdure.schedule` elsewhere.
        declared: when it was declared, or changed, last.
    """

    since: float
    last: float
    due: float | None
    seen: float
    status: Status
    origin: Origin
    declared: float


class TickRow(msgspec.Struct, frozen=True):
    """What became of one tick, or of several that were skipped for one reason. Times: seconds since the epoch.

    Attributes:
        schedule: whose.
        due: when the first was due; a run that was triggered by hand has the moment of that.
        last: when the last of them was due.
        ticks: how many they are; None: they were not counted.
        outcome: "waiting" for the runs before, "started", "ended", or "skipped".
        reason: why it was skipped.
        run: the number of its run.
        tz: the zone of the schedule then; None in ticks that were skipped.
        missed: for how many ticks that nobody served its run stands.
        previous: when the tick before was due that had a run.
        made: when this was decided.
    """

    schedule: str
    due: float
    last: float
    ticks: int | None
    outcome: Outcome | Literal["ended"]
    reason: str | None
    run: int | None
    tz: str | None
    missed: int
    previous: float | None
    made: float


T = TypeVar("T", Schedule, TickRow)

_FLOATS: dict[type[Any], tuple[str, ...]] = {
    Schedule: ("within", "spread", "since", "last", "due", "seen", "declared"),
    TickRow: ("due", "last", "previous", "made"),
}


def put(connection: apsw.Connection, schedule: Schedule) -> Schedule:
    """Write a schedule, in the transaction under way; returns it."""
    connection.execute(SQL["put"], _row(schedule))
    return schedule


def put_tick(connection: apsw.Connection, tick: TickRow) -> TickRow:
    """Write a tick, in the transaction under way; returns it."""
    connection.execute(SQL["put_tick"], _row(tick))
    return tick


def get(connection: apsw.Connection, name: str, path: Path) -> Schedule | None:
    """The schedule of that name.

    Raises:
        StateCorrupt: it is not as it was written.
    """
    row: Any = connection.execute(SQL["get"], (name,)).fetchone()
    return None if row is None else read(Schedule, row, path)


def require(connection: apsw.Connection, name: str, path: Path) -> Schedule:
    """The schedule of that name.

    Raises:
        NotFound: there is none.
        StateCorrupt: it is not as it was written.
    """
    found = get(connection, name, path)
    if found is None:
        raise NotFound(f"there is no schedule {name!r} in {path}", "see `perdure schedule ls`")
    return found


def ticks(connection: apsw.Connection, statement: str, *values: Any, path: Path) -> list[TickRow]:
    """The ticks that a statement of schedules.sql finds.

    Raises:
        StateCorrupt: one is not as it was written.
    """
    return [read(TickRow, row, path) for row in connection.execute(SQL[statement], values)]


def read(kind: type[T], row: Sequence[Any], path: Path) -> T:
    """A row as a record.

    Raises:
        StateCorrupt: it is not as it was written.
    """
    try:
        if sound(row):
            record = kind(*row[:-1])
            if is_time(record.due) and is_time(record.last):
                return record
    except UNREADABLE:
        pass
    raise corrupt(path)


def _row(record: Schedule | TickRow) -> tuple[Any, ...]:
    floats = _FLOATS[type(record)]
    values = {
        field: float(value) if field in floats and value is not None else value
        for field, value in msgspec.structs.asdict(record).items()
    }
    return sealed(*values.values())
