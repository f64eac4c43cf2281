"""The clock of schedules: makes of each tick that is due a queued run, or a reason why there is none.

A tick's rows (its own, its run's, and how far the schedule has been counted) are written in one transaction, so that
several workers may do this at once, and die in the middle of it. docs/decisions/0048-schedules.md says more.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.config.time_zones import zone
from perdure.core.cron import Ticks, local_text, parse, spread_of
from perdure.core.durations import show
from perdure.core.execution.queueing import DEFAULT, QueuedRun
from perdure.core.execution.run_effects import Start
from perdure.core.tick_verdicts import WHY, Judgement, Reason, Runs, Verdict, judge
from perdure.errors import PerdureError, StateError
from perdure.store.bell import ring
from perdure.store.queue import AFTER_OTHERS, add_one, let_begin
from perdure.store.runs import Store
from perdure.store.schedule_rows import SQL, Schedule, TickRow, get, put, put_tick, ticks

SET_BACK = 60.0
"""Seconds by which the clock may go back before counting begins anew."""

RECOUNT = 3600.0
"""Seconds until the next moments of all schedules are computed again: the data of their zones may have changed."""

AGAIN = 1.0
"""Seconds between two looks at whether the run has ended that another one waits for."""

UNUSABLE = 60.0
"""Seconds between two tries with a schedule whose zone or specification cannot be used."""

_log = logging.getLogger("perdure")
_recounted: dict[Path, float] = {}
_refused: set[tuple[str, str]] = set()


def advance(store: Store, now: float) -> float | None:
    """Decide about every tick that is due, of every schedule; any number of processes may do so at once.

    Args:
        store: the state file.
        now: the time, in seconds since the epoch. After a jump of the clock, do not call this for half a minute.

    Returns:
        When to look again, in seconds since the epoch; None if no schedule counts.

    Raises:
        StateError: the file cannot be used; what was decided before is saved.
    """
    made = False
    again: list[float] = []
    names = [name for (name,) in _all(store, "ready", now)]
    since = now - _recounted.get(store.path, float("-inf"))
    if not 0 <= since < RECOUNT:
        _recounted[store.path] = now
        names = list(dict.fromkeys((*names, *(name for (name,) in _all(store, "active")))))
    for name in names:
        try:
            turn = _Turn(store, name, now)
            store.journal.write((), turn.take)
        except StateError:
            raise
        except PerdureError as error:
            if (name, str(error)) not in _refused:
                _refused.add((name, str(error)))
                _log.error("schedule %s does not count: %s", name, error)
            again.append(now + UNUSABLE)
            continue
        made = made or turn.made
        turn.done()
    if made:
        ring(store.path)
    ((due,),) = _all(store, "next")
    if due is not None:
        # One that is due still, and could not be counted, is tried again later.
        again.append(max(due, now + UNUSABLE) if due <= now else min(due, now + RECOUNT))
    if _all(store, "waits"):
        again.append(now + AGAIN)
    return min(again, default=None)


def forget(path: Path) -> None:
    """That state file is gone."""
    _recounted.pop(path, None)


class _Turn:
    """One schedule's turn, in one transaction."""

    def __init__(self, store: Store, name: str, now: float) -> None:
        self.store, self.name, self.now = store, name, now
        self.path = store.path
        self.made = False
        self._lines: list[tuple[int, str]] = []
        self._nudge: set[str] = set()

    def done(self) -> None:
        """It was committed: say what was decided, and make the processes look that are asked to stop."""
        for level, line in self._lines:
            _log.log(level, "schedule %s: %s", self.name, line)
        for token in self._nudge:
            self.store.holder.nudge(token)

    def take(self, connection: apsw.Connection) -> None:
        """Decide about the ticks that are due, and let the run begin that waited for the one that has ended."""
        self.made, self._lines, self._nudge = False, [], set()
        schedule = get(connection, self.name, self.path)
        if schedule is None:
            return
        open_ticks = close_ended(self.store, connection, schedule, self.now)
        if schedule.status == "active":
            open_ticks = self._count(connection, schedule, open_ticks)
        self.made = release(self.store, connection, open_ticks, self.now) or self.made

    def _count(self, connection: apsw.Connection, schedule: Schedule, open_ticks: list[TickRow]) -> list[TickRow]:
        timing, where = understood(schedule)
        late = spread_of(schedule.name, schedule.spread)
        last = schedule.last
        if self.now < schedule.seen - SET_BACK:
            self._say(
                logging.WARNING, f"the clock was set back by {show(schedule.seen - self.now)}: it counts from now"
            )
            last = min(last, self.now - late)
        until = self.now - late
        floor = max(last, until - schedule.within)
        found = timing.latest(floor, until, where)
        self._pass_over(connection, schedule, timing, where, last, found.before or floor)
        chosen = [tick for tick in found.ticks if is_open(connection, schedule, tick, self.path)]
        runs = Runs(
            sum(each.outcome == "started" for each in open_ticks), sum(each.outcome == "waiting" for each in open_ticks)
        )
        judged = judge(chosen, self.now, schedule.overlap, schedule.missed, runs, late=late)
        if judged.replace:
            open_ticks = self._replace(connection, open_ticks)
        for verdict in judged.verdicts:
            tick = self._carry_out(connection, schedule, verdict, where)
            if tick is not None:
                open_ticks.append(tick)
        if judged.missed:
            self._say_missed(judged, where)
        last = max(last, *found.ticks) if found.ticks else last
        due = next_due(connection, schedule, timing, where, max(last, until), self.path)
        changed = msgspec.structs.replace(schedule, last=last, due=due, seen=max(self.now, 0.0))
        if found.ticks or due != schedule.due or last != schedule.last or self.now < schedule.seen:
            put(connection, changed)
        return open_ticks

    def _pass_over(
        self, connection: apsw.Connection, schedule: Schedule, timing: Ticks, where: tzinfo, last: float, until: float
    ) -> None:
        """What is older than the schedule catches up with is one row."""
        rows = passed_over(connection, schedule, timing, where, last, until, "too-old", self.now, self.path)
        for row in rows:
            put_tick(connection, row)
        if rows:
            span = f"{local_text(rows[0].due, where)} to {local_text(rows[-1].last, where)}"
            rest = ", but for those that were decided before" if len(rows) > 1 else ""
            self._say(logging.WARNING, f"the ticks from {span} were missed, and are too old to be run{rest}")

    def _carry_out(
        self, connection: apsw.Connection, schedule: Schedule, verdict: Verdict, where: tzinfo
    ) -> TickRow | None:
        if verdict.outcome != "skipped":
            made = start(self.store, connection, schedule, verdict, where, self.now)
            if made is not None:
                self.made = True
                return made
            verdict = Verdict(verdict.tick, "skipped", "exists")
        reason = verdict.reason or "exists"
        skip(connection, schedule, verdict.tick, reason, self.now, self.path)
        if reason != "missed":  # said of all of them, once
            self._say(logging.INFO, f"the tick of {local_text(verdict.tick, where)} is skipped: {WHY[reason]}")
        return None

    def _replace(self, connection: apsw.Connection, open_ticks: Sequence[TickRow]) -> list[TickRow]:
        """Cancel what a new tick takes the place of."""
        left = []
        for tick in open_ticks:
            run = self.store.run_in(connection, tick.run or 0)
            if tick.outcome == "waiting" or run.status == "queued":
                self.store.put_run(connection, run, status="cancelled", ended=self.now, wake=None, hold=None, turn=None)
                if tick.outcome == "waiting":
                    put_tick(connection, msgspec.structs.replace(tick, outcome="skipped", reason="replaced"))
                else:
                    put_tick(connection, msgspec.structs.replace(tick, outcome="ended"))
                continue
            left.append(tick)
            by = None if run.holder is None else self.store.holder.living(connection, run.holder)
            if by is not None:
                self._nudge.add(by.token)
            changed: dict[str, Any] = {} if run.stop is not None else {"stop": self.now}
            if run.holder is None:  # it sleeps, or a person has stopped it: a worker makes its clean-ups
                changed |= {"status": "suspended", "wake": self.now}
            self.store.put_run(connection, run, **changed)
            self._say(logging.INFO, f"run {run.id} is cancelled for the next one")
        return left

    def _say_missed(self, judged: Judgement, where: tzinfo) -> None:
        run = [each for each in judged.verdicts if each.outcome != "skipped"]
        when = f"{local_text(judged.verdicts[0].tick, where)}" + (
            f" to {local_text(judged.verdicts[judged.missed - 1].tick, where)}" if judged.missed > 1 else ""
        )
        done = f"{len(run)} run{'s' * (len(run) != 1)}" if run else "no run"
        s = "s were" if judged.missed > 1 else " was"
        self._say(logging.WARNING, f"{judged.missed} tick{s} missed ({when}): {done} made")

    def _say(self, level: int, line: str) -> None:
        self._lines.append((level, line))


# -- what others do too -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _parsed(spec: str) -> Ticks:
    return parse(spec)


def understood(schedule: Schedule) -> tuple[Ticks, tzinfo]:
    """When a schedule is due, and in which zone.

    Raises:
        OptionError: this machine does not know the zone.
    """
    return _parsed(schedule.spec), zone(schedule.tz)


def passed_over(
    connection: apsw.Connection,
    schedule: Schedule,
    timing: Ticks,
    where: tzinfo,
    last: float,
    until: float,
    reason: Reason,
    now: float,
    path: Path,
) -> list[TickRow]:
    """The row for the ticks later than `last`, up to `until`, that are skipped for one reason; none: there are none.

    What is known of some of them stays, as of those that had their run before the clock was set back: it lies between
    the rows of the others.
    """
    rows = []
    earlier = row_of(connection, schedule.name, math.floor(last) + 1, path)
    known = [] if earlier is None else [earlier]
    known += ticks(connection, "rows_between", schedule.name, last, until, path=path)
    for each in (*known, None):
        end = until if each is None else min(math.ceil(each.due) - 1, until)
        first = timing.next(last, where) if end > last else None
        if first is not None and first <= end:
            found = timing.latest(last, end, where)
            many = None if found.before is not None else len(found.ticks)
            rows.append(
                TickRow(schedule.name, first, found.ticks[-1], many, "skipped", reason, None, None, 0, None, now)
            )
        if each is not None:
            last = max(last, each.last)
    return rows


def next_due(
    connection: apsw.Connection, schedule: Schedule, timing: Ticks, where: tzinfo, last: float, path: Path
) -> float | None:
    """When the next run begins: the first tick later than `last` that was not skipped by hand, and its spread."""
    for tick in timing.after(last, where):
        if is_open(connection, schedule, tick, path):
            return float(tick + spread_of(schedule.name, schedule.spread))
    return None


def row_of(connection: apsw.Connection, name: str, tick: float, path: Path) -> TickRow | None:
    """The row that says what became of a tick: its own, or one of several that were skipped for one reason.

    A run that was triggered by hand may lie between the first and the last of those; two do not.
    """
    rows = ticks(connection, "rows_up_to", name, float(tick), path=path)
    return next((row for row in rows if row.due == tick or (row.run is None and row.last >= tick)), None)


def is_open(connection: apsw.Connection, schedule: Schedule, tick: int, path: Path) -> bool:
    """Is a tick still to be decided? It has a run if the clock was set back, or may have been skipped by hand."""
    known = row_of(connection, schedule.name, tick, path)
    return known is None or (known.run is None and known.reason != "by-hand")


def take_out(
    connection: apsw.Connection, schedule: Schedule, tick: float, timing: Ticks, where: tzinfo, path: Path
) -> None:
    """A tick that was skipped gets a run after all: what shared its row keeps its reason."""
    row = row_of(connection, schedule.name, tick, path)
    if row is None or row.last == row.due:
        return
    connection.execute(SQL["forget_tick"], (row.schedule, row.due))
    for first, last in ((row.due - 1, tick - 1), (tick, row.last)):
        found = timing.latest(first, last, where)
        if found.ticks:
            begins = timing.next(first, where) or last
            many = len(found.ticks) if found.before is None else None
            put_tick(connection, msgspec.structs.replace(row, due=begins, last=found.ticks[-1], ticks=many))


def start(
    store: Store, connection: apsw.Connection, schedule: Schedule, verdict: Verdict, where: tzinfo, now: float
) -> TickRow | None:
    """Make the run of a tick, which begins at once or waits; None if there is one of its id."""
    id = f"{schedule.name}@{local_text(verdict.tick, where)}"
    if connection.execute(SQL["run_named"], (id,)).fetchone() is not None:
        return None
    take_out(connection, schedule, verdict.tick, understood(schedule)[0], where, store.path)
    return start_run(
        store,
        connection,
        schedule,
        id=id,
        due=float(verdict.tick),
        waits=verdict.outcome == "waiting",
        missed=verdict.missed,
        now=now,
    )


def start_run(
    store: Store,
    connection: apsw.Connection,
    schedule: Schedule,
    *,
    id: str,
    due: float,
    waits: bool,
    missed: int = 0,
    now: float,
) -> TickRow | None:
    """Make a run of a schedule under that id; None if there is one already."""
    if connection.execute(SQL["run_named"], (id,)).fetchone() is not None:
        return None
    made = Start(
        script=schedule.script,
        path=schedule.path,
        workflow=schedule.workflow,
        key=schedule.key,
        input=schedule.input,
        fresh=id,
        id=id,
        named=True,
    )
    queued = QueuedRun(made, schedule.queue or DEFAULT, hold=AFTER_OTHERS if waits else None)
    run = add_one(store, connection, queued, now)
    found: Any = connection.execute(SQL["previous_run"], (schedule.name, due)).fetchone()
    previous = None if found is None else found[0]
    outcome: Any = "waiting" if waits else "started"
    return put_tick(
        connection, TickRow(schedule.name, due, due, 1, outcome, None, run.rid, schedule.tz, missed, previous, now)
    )


def skip(connection: apsw.Connection, schedule: Schedule, tick: float, reason: Reason, now: float, path: Path) -> None:
    """Write down why a tick has no run; those of one reason that follow each other share a row."""
    if row_of(connection, schedule.name, tick, path) is not None:
        return  # that is known already
    before = ticks(connection, "newest_tick", schedule.name, float(tick), path=path)
    row = before[0] if before else None
    if row is not None and row.run is None and row.reason == reason and row.ticks is not None and reason != "by-hand":
        put_tick(connection, msgspec.structs.replace(row, last=tick, ticks=row.ticks + 1))
    else:
        put_tick(connection, TickRow(schedule.name, tick, tick, 1, "skipped", reason, None, None, 0, None, now))


def close_ended(store: Store, connection: apsw.Connection, schedule: Schedule, now: float) -> list[TickRow]:
    """The ticks of a schedule whose runs have not ended; those that have are marked so."""
    left = []
    for tick in ticks(connection, "open_ticks", schedule.name, path=store.path):
        run = store.run_in(connection, tick.run or 0)
        if run.status in ("queued", "running", "suspended") and run.superseded_by is None:
            left.append(tick)
        else:
            put_tick(connection, msgspec.structs.replace(tick, outcome="ended"))
    return left


def release(store: Store, connection: apsw.Connection, open_ticks: Sequence[TickRow], now: float) -> bool:
    """Let the first one that waits begin, if nothing that has begun is left; returns whether it does."""
    waiting = [tick for tick in open_ticks if tick.outcome == "waiting"]
    if not waiting or len(waiting) < len(open_ticks):
        return False
    tick = min(waiting, key=lambda each: each.due)
    let_begin(store, connection, store.run_in(connection, tick.run or 0), now)
    put_tick(connection, msgspec.structs.replace(tick, outcome="started"))
    return True


def _all(store: Store, statement: str, *values: Any) -> list[Any]:
    found: list[Any] = store.journal.read(lambda connection: connection.execute(SQL[statement], values).fetchall())
    return found
