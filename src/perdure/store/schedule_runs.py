"""The runs of a schedule: made by hand (triggered, backfilled), of which tick one is, and which others it waits for."""

from __future__ import annotations

import shlex
from typing import Any

import apsw

from perdure.core.cron import MOST, Ticks, local_text
from perdure.core.tick_verdicts import Outcome, Verdict
from perdure.errors import AlreadyRunning, OptionError
from perdure.store.bell import ring
from perdure.store.runs import Store
from perdure.store.schedule_clock import close_ended, release, row_of, start, start_run, understood
from perdure.store.schedule_rows import Schedule, TickRow, get, ticks
from perdure.store.schedules import change, refuse_undeclared


def trigger(store: Store, name: str, now: float) -> str:
    """Make a run of a schedule now, beside its ticks; returns its id.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared.
        AlreadyRunning: the run before has not ended, and its `overlap` lets no other one begin or wait.
    """
    made: list[str] = []

    def operation(connection: apsw.Connection, schedule: Schedule) -> Schedule:
        refuse_undeclared(schedule)
        _, where = understood(schedule)
        left = close_ended(store, connection, schedule, now)
        waiting = any(each.outcome == "waiting" for each in left)
        if left and schedule.overlap != "allow" and (schedule.overlap != "queue" or waiting):
            before = store.run_in(connection, left[0].run or 0)
            raise AlreadyRunning(
                f"schedule {name!r} is not triggered: run {before.id} has not ended",
                f"wait until it has, or end it: perdure cancel {shlex.quote(before.id)}",
            )
        moment = round(now, 3)
        while True:
            id = f"{name}@{local_text(moment, where, exact=True)}"
            waits = bool(left) and schedule.overlap == "queue"
            tick = start_run(store, connection, schedule, id=id, due=moment, waits=waits, now=now)
            if tick is not None:
                break
            moment = round(moment + 0.001, 3)  # triggered twice within a millisecond
        made.append(id)
        return schedule

    change(store, name, operation)
    ring(store.path)
    return made[-1]


def backfill(store: Store, name: str, first: float, last: float, now: float) -> tuple[list[str], int]:
    """Make the runs of past ticks that have none, one after the other (with overlap="allow": all at once).

    Args:
        store: the state file.
        name: the schedule.
        first: from when, with it; seconds since the epoch.
        last: until when, with it.
        now: the time.

    Returns:
        The ids of the runs, and how many ticks had one already.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared, the stretch is in the future, holds no tick, or holds more than 1,000.
    """
    made: list[str] = []
    there: list[int] = []

    def operation(connection: apsw.Connection, schedule: Schedule) -> Schedule:
        refuse_undeclared(schedule)
        timing, where = understood(schedule)
        found = _stretch(timing, where, first, last, now)
        left = close_ended(store, connection, schedule, now)
        outcome: Outcome = "started" if schedule.overlap == "allow" else "waiting"
        for tick in found:
            known = row_of(connection, name, tick, store.path)
            made_now = None
            if known is None or known.run is None:
                made_now = start(store, connection, schedule, Verdict(tick, outcome), where, now)
            if made_now is None:
                there.append(tick)
                continue
            made.append(f"{name}@{local_text(tick, where)}")
            left.append(made_now)
        release(store, connection, left, now)
        return schedule

    change(store, name, operation)
    ring(store.path)
    return made, len(there)


def _stretch(timing: Ticks, where: Any, first: float, last: float, now: float) -> tuple[int, ...]:
    if last > now:
        raise OptionError(
            f"the end of the stretch, {local_text(last, where)}, is in the future", "give a time that has passed"
        )
    if first > last:
        raise OptionError(
            f"the stretch ends before it begins: {local_text(first, where)} to {local_text(last, where)}",
            "give FIRST, then LAST",
        )
    found = timing.latest(first - 1e-6, last, where)
    if found.before is not None:
        raise OptionError(f"there are more than {MOST:,} ticks in that stretch", "make it shorter, and repeat")
    if not found.ticks:
        raise OptionError(
            f"no tick is due from {local_text(first, where)} to {local_text(last, where)}",
            "see when it is due: perdure schedule next NAME",
        )
    return found.ticks


def tick_of_run(store: Store, rid: int) -> TickRow | None:
    """The tick that a run was made for; None: no schedule has made it."""
    found: list[TickRow] = store.journal.read(lambda connection: ticks(connection, "tick_of_run", rid, path=store.path))
    return found[0] if found else None


def runs_before(store: Store, rid: int) -> list[str]:
    """The ids of the runs of its schedule that have to end before a run begins, the oldest first."""

    def question(connection: apsw.Connection) -> list[str]:
        mine = ticks(connection, "tick_of_run", rid, path=store.path)
        if not mine:
            return []
        begun = [
            one for one in ticks(connection, "open_ticks", mine[0].schedule, path=store.path) if one.run is not None
        ]
        runs = [store.run_in(connection, one.run or 0) for one in begun if one.outcome == "started"]
        return [run.id for run in runs if run.rid != rid and run.status in ("queued", "running", "suspended")]

    found: list[str] = store.journal.read(question)
    return found


def replaced_by(store: Store, rid: int) -> str | None:
    """The id of the next run of its schedule, for which a run was cancelled; None if that was not the reason."""

    def question(connection: apsw.Connection) -> str | None:
        mine = ticks(connection, "tick_of_run", rid, path=store.path)
        schedule = get(connection, mine[0].schedule, store.path) if mine else None
        if schedule is None or schedule.overlap != "cancel":
            return None
        later = [
            one.run
            for one in ticks(connection, "open_ticks", schedule.name, path=store.path)
            if one.run and one.due > mine[0].due
        ]
        return store.run_in(connection, later[0]).id if later else None

    found: str | None = store.journal.read(question)
    return found
