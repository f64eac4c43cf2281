"""Schedules: declared, paused, resumed, removed. Their clock is `schedule_clock`, their runs are in `schedule_runs`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import apsw
import msgspec

from perdure.core.cron import parse, spread_of
from perdure.core.redaction.printable import one_line
from perdure.core.tick_verdicts import Reason
from perdure.errors import NotFound, OptionError
from perdure.store.bell import ring
from perdure.store.damaged_rows import if_sound, rows_of
from perdure.store.runs import Store
from perdure.store.schedule_clock import (
    close_ended,
    is_open,
    next_due,
    passed_over,
    skip,
    understood,
)
from perdure.store.schedule_rows import (
    SQL,
    Declared,
    Origin,
    Schedule,
    TickRow,
    get,
    put,
    put_tick,
    read,
    require,
    ticks,
)

_log = logging.getLogger("perdure")


class Declaration(Declared, frozen=True):
    """A schedule as code declares it, and where: see `Schedule`."""

    origin: Origin


_COUNTED = ("spec", "tz")
"""What begins counting anew when it is changed."""


def declare(store: Store, declared: Declaration, now: float) -> Schedule:
    """Write a schedule as it is declared now; nothing is written if it is as it was. The last declaration wins.

    Raises:
        OptionError: its zone is not known here.
        StateError: the file cannot be used.
    """

    def operation(connection: apsw.Connection) -> tuple[Schedule | None, Schedule]:
        before = get(connection, declared.name, store.path)
        fields: dict[str, Any] = msgspec.structs.asdict(declared)
        if before is None:
            fresh = Schedule(**fields, since=now, last=now, due=None, seen=now, status="active", declared=now)
            return None, _put_with_due(connection, store, fresh, now)
        same = all(getattr(before, field) == value for field, value in fields.items())
        if same and before.status != "undeclared":
            return before, before
        after = msgspec.structs.replace(before, **fields, declared=now)
        anew: Reason | None = "undeclared" if before.status == "undeclared" else None
        if any(getattr(before, field) != fields[field] for field in _COUNTED):
            anew = anew or "edited"
        if anew is not None:
            _begin_anew(connection, store, before, anew, now)
            after = msgspec.structs.replace(after, since=now, last=now)
        if before.status == "undeclared":
            after = msgspec.structs.replace(after, status="active")
        return before, _put_with_due(connection, store, after, now)

    written: tuple[Schedule | None, Schedule] = store.journal.write((), operation)
    before, after = written
    if before != after:
        _say_declared(before, after)
        ring(store.path)
    return after


def undeclare(store: Store, script: str, names: Collection[str], now: float) -> list[str]:
    """The script has been loaded, and has only these schedules: the others that it had are no longer counted.

    Args:
        store: the state file.
        script: the identity of the script.
        names: what it declares now.
        now: seconds since the epoch.

    Returns:
        The names of those that it no longer has.

    Raises:
        StateError: the file cannot be used.
    """
    gone: list[str] = []
    for schedule in every(store):
        if schedule.script != script or schedule.origin != "script" or schedule.name in names:
            continue
        if schedule.status == "active":
            change(store, schedule.name, lambda at, found: _stop(at, found, now))
            gone.append(schedule.name)
            _log.warning(
                "schedule %s is not in %s any more: it is undeclared, and has no more ticks; `perdure schedule rm %s` "
                "removes it",
                schedule.name,
                schedule.path,
                schedule.name,
            )
    return gone


def _stop(connection: apsw.Connection, schedule: Schedule, now: float) -> Schedule:
    return put(connection, msgspec.structs.replace(schedule, status="undeclared", due=None, seen=now))


def every(store: Store) -> list[Schedule]:
    """All schedules, by name.

    Raises:
        StateCorrupt: one is not as it was written.
    """

    def question(connection: apsw.Connection) -> list[Schedule]:
        return [read(Schedule, row, store.path) for row in connection.execute(SQL["all"])]

    found: list[Schedule] = store.journal.read(question)
    return found


def listed(store: Store) -> list[Schedule | str]:
    """All schedules, by name; of one that is damaged the name, as it stands there now."""

    def question(connection: apsw.Connection) -> list[Schedule | str]:
        rows = rows_of(connection, SQL["all"])
        return [if_sound(partial(read, Schedule, row, store.path), partial(one_line, row[0])) for row in rows]

    found: list[Schedule | str] = store.journal.read(question)
    return found


def one(store: Store, name: str) -> Schedule:
    """The schedule of that name.

    Raises:
        NotFound: there is none.
    """
    found: Schedule = store.journal.read(lambda connection: require(connection, name, store.path))
    return found


def latest_ticks(store: Store, name: str, most: int) -> list[TickRow]:
    """What became of up to `most` ticks, the newest first."""
    found: list[TickRow] = store.journal.read(
        lambda connection: ticks(connection, "latest_ticks", name, most, path=store.path)
    )
    return found


def missed_since(store: Store, name: str, since: float) -> int:
    """How many ticks nobody served since then, as far as they were counted."""
    (count,) = store.journal.read(lambda connection: connection.execute(SQL["missed_ticks"], (name, since)).fetchone())
    return int(count)


def unserved(store: Store, before: float) -> list[str]:
    """The schedules with a tick that was due before then and has not been decided: no worker serves them."""
    return [
        name
        for (name,) in store.journal.read(lambda connection: connection.execute(SQL["unserved"], (before,)).fetchall())
    ]


# -- by hand ----------------------------------------------------------------------------------------------------------


def pause(store: Store, name: str, now: float) -> Schedule:
    """No more ticks until it is resumed; what has begun goes on.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared.
    """

    def operation(connection: apsw.Connection, schedule: Schedule) -> Schedule:
        refuse_undeclared(schedule)
        if schedule.status == "paused":
            return schedule
        return put(connection, msgspec.structs.replace(schedule, status="paused", due=None, seen=now))

    return change(store, name, operation)


def resume(store: Store, name: str, now: float) -> Schedule:
    """Count anew from now on; what was due meanwhile is one row.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared, or its zone is not known here.
    """

    def operation(connection: apsw.Connection, schedule: Schedule) -> Schedule:
        refuse_undeclared(schedule)
        if schedule.status == "active":
            return schedule
        _begin_anew(connection, store, schedule, "paused", now)
        after = msgspec.structs.replace(schedule, status="active", since=now, last=now)
        return _put_with_due(connection, store, after, now)

    return change(store, name, operation)


def skip_next(store: Store, name: str, now: float) -> float:
    """Skip the next tick; returns when it would have been due.

    Raises:
        NotFound: there is no such schedule, or it has no more ticks.
        OptionError: it is paused or undeclared.
    """
    skipped: list[float] = []

    def operation(connection: apsw.Connection, schedule: Schedule) -> Schedule:
        _refuse_idle(schedule)
        timing, where = understood(schedule)
        for tick in timing.after(max(schedule.last, now - spread_of(name, schedule.spread)), where):
            if is_open(connection, schedule, tick, store.path):
                skip(connection, schedule, float(tick), "by-hand", now, store.path)
                skipped.append(float(tick))
                return _put_with_due(connection, store, schedule, now)
        raise NotFound(f"schedule {name!r} has no more ticks", "see `perdure schedule show`")

    change(store, name, operation)
    return skipped[-1]


def remove(store: Store, name: str, now: float) -> int:
    """Remove a schedule; its runs stay, but for those that wait for others, which are cancelled: returns how many.

    Raises:
        NotFound: there is no such schedule.
    """

    def operation(connection: apsw.Connection) -> int:
        schedule = require(connection, name, store.path)
        waiting = [one for one in close_ended(store, connection, schedule, now) if one.outcome == "waiting"]
        for tick in waiting:
            run = store.run_in(connection, tick.run or 0)
            store.put_run(connection, run, status="cancelled", ended=now, wake=None, hold=None, turn=None)
            put_tick(connection, msgspec.structs.replace(tick, outcome="ended"))
        connection.execute(SQL["forget_ticks"], (name,))
        connection.execute(SQL["remove"], (name,))
        return len(waiting)

    cancelled: int = store.journal.write((), operation)
    return cancelled


def change(store: Store, name: str, function: Callable[[apsw.Connection, Schedule], Schedule]) -> Schedule:
    """Change a schedule while no one else does; returns it as it is then.

    Raises:
        NotFound: there is no such schedule.
        StateError: the file cannot be used.
    """
    changed: Schedule = store.journal.write(
        (), lambda connection: function(connection, require(connection, name, store.path))
    )
    return changed


# -- within a transaction ---------------------------------------------------------------------------------------------


def _put_with_due(connection: apsw.Connection, store: Store, schedule: Schedule, now: float) -> Schedule:
    due = None
    if schedule.status == "active":
        timing, where = understood(schedule)
        due = next_due(connection, schedule, timing, where, schedule.last, store.path)
    return put(connection, msgspec.structs.replace(schedule, due=due, seen=now))


def _begin_anew(connection: apsw.Connection, store: Store, before: Schedule, reason: Reason, now: float) -> None:
    """What was due, and is not caught up with, is one row."""
    try:
        timing, where = understood(before)
    except OptionError:  # the zone of before is not known here
        return
    until = now - spread_of(before.name, before.spread)
    for row in passed_over(connection, before, timing, where, before.last, until, reason, now, store.path):
        put_tick(connection, row)


def refuse_undeclared(schedule: Schedule) -> None:
    """Make sure that a schedule can have runs.

    Raises:
        OptionError: its script does not have it any more.
    """
    if schedule.status == "undeclared":
        raise OptionError(
            f"schedule {schedule.name!r} is undeclared: {schedule.path} does not have it any more",
            f"declare it there again, or remove it: perdure schedule rm {schedule.name}",
        )


def _refuse_idle(schedule: Schedule) -> None:
    refuse_undeclared(schedule)
    if schedule.status == "paused":
        raise OptionError(f"schedule {schedule.name!r} is paused", f"perdure schedule resume {schedule.name}")


def _say_declared(before: Schedule | None, after: Schedule) -> None:
    about = f"{after.spec} ({after.tz})"
    if before is None:
        _log.info("schedule %s is declared: %s", after.name, about)
    elif before.script != after.script:
        _log.warning(
            "schedule %s of %s is declared by %s now: the last declaration counts", after.name, before.path, after.path
        )
    else:
        fields = ("workflow", "spec", "tz", "overlap", "missed", "within", "spread", "queue")
        changes = [
            f"{field} {getattr(before, field)!r} -> {getattr(after, field)!r}"
            for field in fields
            if getattr(before, field) != getattr(after, field)
        ]
        if before.status != after.status:
            changes.append(f"{before.status} -> {after.status}")
        if before.key != after.key:
            changes.append("its arguments")
        if changes:
            _log.info("schedule %s was changed: %s", after.name, ", ".join(changes))
    note = parse(after.spec).note
    if note and (before is None or before.spec != after.spec):
        _log.warning("schedule %s: %s", after.name, note)
