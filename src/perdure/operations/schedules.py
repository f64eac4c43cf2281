"""The schedules of a state file: what `perdure schedule` shows and changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from functools import partial
from itertools import islice
from typing import Literal

import msgspec

from perdure.config.cluster_options import shown
from perdure.config.time_zones import zone
from perdure.core.cron import parse, spread_of
from perdure.core.tick_verdicts import WHY
from perdure.core.timestamps import moment
from perdure.engines.features import Feature
from perdure.engines.selection import cluster_at
from perdure.errors import NotFound, OptionError
from perdure.operations.location import Location, opened, opened_for_change
from perdure.store import schedule_runs, schedules
from perdure.store.damaged_rows import LOOK, if_sound
from perdure.store.runs import Store
from perdure.store.schedule_rows import Schedule, TickRow

Kind = Literal["pause", "resume", "skip", "trigger", "backfill", "remove"]


class TickView(msgspec.Struct, frozen=True):
    """What became of a tick, or of several that were skipped for one reason.

    Attributes:
        due: when the first was due.
        last: when the last of them was due.
        ticks: how many they are; None: they were not counted.
        outcome: "waiting" for the runs before, "started", "ended", or "skipped".
        reason: why it was skipped, as a short text for programs; None if it was not.
        why: the same for people; empty if it was not.
        run: the id of its run, or of the fork that has superseded it.
        status: how that stands.
        seconds: how long it took, if it has ended.
        missed: for how many ticks that nobody served it stands.
    """

    due: datetime | None
    last: datetime | None
    ticks: int | None
    outcome: str
    reason: str | None = None
    why: str = ""
    run: str | None = None
    status: str | None = None
    seconds: float | None = None
    missed: int = 0


class ScheduleView(msgspec.Struct, frozen=True):
    """A schedule.

    Attributes:
        name, workflow, script, spec, tz, overlap, missed, within, spread, queue: as it was declared; seconds.
        status: "active", "paused", "undeclared", or "damaged": its row, or one of a tick, is not as it was written.
        next: when its next run begins, in its zone; None: not, as it stands.
        overdue: for how many seconds the next run has been due: no worker serves it.
        missed_ticks: how many ticks nobody served, as far as they were counted.
        note: what a reader of the specification may take for something else.
        latest: what became of its latest ticks, the newest first.
    """

    name: str
    workflow: str
    script: str
    spec: str
    tz: str
    status: str
    overlap: str
    missed: str
    within: float
    spread: float
    queue: str | None
    next: datetime | None
    overdue: float
    missed_ticks: int
    note: str
    latest: list[TickView]


def list_schedules(location: Location, latest: int = 10) -> list[ScheduleView]:
    """All of them, by name.

    Raises:
        NotFound: there is no state file.
        EngineError: the cluster cannot be reached.
        StateError: the file cannot be used.
    """
    with _opened(location) as store:
        found = schedules.listed(store)
        return [
            _damaged(one)
            if isinstance(one, str)
            else if_sound(partial(_view, store, one, latest), partial(_damaged, one.name))
            for one in found
        ]


def show_schedule(location: Location, name: str, latest: int = 20) -> ScheduleView:
    """One schedule.

    Raises:
        NotFound: there is no such schedule.
        EngineError: the cluster cannot be reached.
        StateError: the file cannot be used.
    """
    with _opened(location, name) as store:
        return _view(store, schedules.one(store, name), latest)


def next_ticks(location: Location, name: str, most: int) -> list[datetime]:
    """When the next runs of a schedule begin, in its zone; also of one that is paused, as if it were not.

    Raises:
        NotFound: there is no such schedule.
        OptionError: this machine does not know its zone.
    """
    with _opened(location, name) as store:
        found = schedules.one(store, name)
        where = zone(found.tz)
        late = spread_of(found.name, found.spread)
        coming = islice(parse(found.spec).after(max(found.last, time.time() - late), where), most)
        return [datetime.fromtimestamp(tick + late, where) for tick in coming]


def pause(location: Location, name: str) -> None:
    """No more ticks until it is resumed.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared.
    """
    now = time.time()
    with _changed(location, name, "pause", now) as store:
        schedules.pause(store, name, now)


def resume(location: Location, name: str) -> datetime | None:
    """Count its ticks from now on; returns when the next run begins.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared.
    """
    now = time.time()
    with _changed(location, name, "resume", now) as store:
        return _date(schedules.resume(store, name, now).due, _zone(schedules.one(store, name)))


def skip(location: Location, name: str) -> datetime | None:
    """Skip the next tick; returns which.

    Raises:
        NotFound: there is no such schedule, or it has no more ticks.
        OptionError: it is paused or undeclared.
    """
    now = time.time()
    with _changed(location, name, "skip", now) as store:
        return _date(schedules.skip_next(store, name, now), _zone(schedules.one(store, name)))


def trigger(location: Location, name: str) -> str:
    """Make a run now; returns its id.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared.
        AlreadyRunning: the run before has not ended.
    """
    now = time.time()
    with _changed(location, name, "trigger", now) as store:
        return schedule_runs.trigger(store, name, now)


def backfill(location: Location, name: str, first: str, last: str) -> tuple[list[str], int]:
    """Make the runs of past ticks that have none; returns their ids, and how many ticks had one.

    Args:
        location: where.
        name: the schedule.
        first: from when: a date or a time in ISO 8601; without an offset it is meant in the zone of the schedule.
        last: until when, with it.

    Raises:
        NotFound: there is no such schedule.
        OptionError: it is undeclared, or the stretch cannot be used.
    """
    with _opened(location, name) as store:
        where = zone(schedules.one(store, name).tz)
    now, start, end = time.time(), _moment(first, where), _moment(last, where)
    with _changed(location, name, "backfill", now, start, end) as store:
        return schedule_runs.backfill(store, name, start, end, now)


def remove(location: Location, name: str) -> int:
    """Remove a schedule; returns how many runs were cancelled that had not begun.

    Raises:
        NotFound: there is no such schedule.
    """
    now = time.time()
    with _changed(location, name, "remove", now) as store:
        return schedules.remove(store, name, now)


def _moment(text: str, where: tzinfo) -> float:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=where)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise OptionError(
            f"{text!r} is not a time", 'give a date such as 2026-11-29, or a time such as "2026-11-29T03:00"'
        ) from None


@contextmanager
def _opened(location: Location, name: str = "") -> Iterator[Store]:
    if location.supports(Feature.STATE_FILE):
        with opened(location) as store:
            yield store
        return
    with cluster_at(location.engine).schedules() as store:
        if name and not any(one.name == name for one in schedules.every(store)):
            raise NotFound(f"there is no schedule {name!r} on {shown(location.engine)}", "see `perdure schedule ls`")
        yield store


@contextmanager
def _changed(
    location: Location, name: str, kind: Kind, now: float, first: float = 0.0, last: float = 0.0
) -> Iterator[Store]:
    """What is to be changed; on a cluster it is tried on a copy, and then done by the ticker of the schedule."""
    if location.supports(Feature.STATE_FILE):
        with opened_for_change(location) as store:
            yield store
        return
    with _opened(location, name) as store:
        yield store
    from perdure.engines.temporal.schedule_state import Deed

    cluster_at(location.engine).change_schedule(name, Deed(kind, now, None, first, last))


def _view(store: Store, one: Schedule, latest: int) -> ScheduleView:
    where, now = _zone(one), time.time()
    return ScheduleView(
        name=one.name,
        workflow=one.workflow,
        script=one.path,
        spec=one.spec,
        tz=one.tz,
        status=one.status,
        overlap=one.overlap,
        missed=one.missed,
        within=one.within,
        spread=one.spread,
        queue=one.queue,
        next=_date(one.due, where),
        overdue=0.0 if one.due is None else max(now - one.due, 0.0),
        missed_ticks=schedules.missed_since(store, one.name, float("-inf")),
        note=parse(one.spec).note,
        latest=[_tick(store, tick, where) for tick in schedules.latest_ticks(store, one.name, latest)],
    )


def _damaged(name: str) -> ScheduleView:
    return ScheduleView(name, "", "", "", "", "damaged", "", "", 0.0, 0.0, None, None, 0.0, 0, LOOK, [])


def _tick(store: Store, tick: TickRow, where: tzinfo) -> TickView:
    id = status = seconds = None
    if tick.run is not None:
        try:
            run = store.run_by_number(tick.run)
            while run.superseded and run.superseded_by is not None:
                run = store.run_by_number(run.superseded_by)
        except NotFound:
            pass
        else:
            id, status = run.id, run.status
            seconds = None if run.ended is None else run.ended - run.started
    why = WHY.get(tick.reason or "", "")
    return TickView(
        _date(tick.due, where),
        _date(tick.last, where),
        tick.ticks,
        tick.outcome,
        tick.reason,
        why,
        id,
        status,
        seconds,
        tick.missed,
    )


def _zone(one: Schedule) -> tzinfo:
    try:
        return zone(one.tz)
    except OptionError:  # this machine does not know it
        return UTC


def _date(seconds: float | None, where: tzinfo) -> datetime | None:
    found = moment(seconds)
    return None if found is None else found.astimezone(where)
