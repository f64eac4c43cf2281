"""What people do with a schedule: they skip ticks, trigger and fill in runs, and remove it; no tick runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from schedule_world import DAY, HOUR, World, at, world

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.run import Start, Taken
from perdure.errors import AlreadyRunning, NotFound, OptionError, RunError
from perdure.operations.location import locate
from perdure.operations.schedules import show_schedule
from perdure.store import forks, schedule_runs, schedules


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_people_skip_and_trigger(here: World) -> None:
    """A tick that is skipped by hand has its reason; a run by hand is beside the ticks, and obeys the overlap."""
    here.declare()
    assert schedules.skip_next(here.store, "nightly", here.now) == at("2026-11-28T03:00")
    assert schedules.skip_next(here.store, "nightly", here.now) == at("2026-11-29T03:00")
    assert here.row()["due"] == at("2026-11-30T03:00")
    here.go_on(at("2026-11-30T03:30"), done=False)
    assert here.told() == [("11-28T03:00", "by-hand", 1), ("11-29T03:00", "by-hand", 1), ("11-30T03:00", "started", 1)]
    with pytest.raises(AlreadyRunning, match="run nightly@2026-11-30T03:00\\+01:00 has not ended"):
        schedule_runs.trigger(here.store, "nightly", here.now)
    here.end_all()
    first = schedule_runs.trigger(here.store, "nightly", here.now)
    assert first == "nightly@2026-11-30T03:30:00.000+01:00"
    here.end_all()
    assert schedule_runs.trigger(here.store, "nightly", here.now) == "nightly@2026-11-30T03:30:00.001+01:00"
    with pytest.raises(NotFound, match="no schedule 'other'"):
        schedule_runs.trigger(here.store, "other", here.now)


def test_a_run_that_waits_for_others_of_its_schedule_is_not_begun_by_hand(here: World) -> None:
    """It would run beside them, which `overlap` rules out; it begins as soon as they have ended."""
    here.declare(overlap="queue")
    before, waits = (schedule_runs.trigger(here.store, "nightly", here.now) for _ in range(2))
    run = here.store.run(waits)
    start = Start(run.script, run.path, run.workflow, run.key, run.input, fresh="", rid=run.rid)
    with pytest.raises(RunError, match="begins when the runs of its schedule before it have ended"):
        here.store.journal.write((), here.store.begin(start, here.now))
    here.end(before)
    here.advance(here.now + 1)
    assert isinstance(here.store.journal.write((), here.store.begin(start, here.now)), Taken)


def test_past_ticks_are_filled_in(here: World) -> None:
    """Backfill: one after the other, those that have a run are left; the future and empty stretches are refused."""
    here.declare(spec="0 3 * * *")
    here.go_on(at("2026-11-28T12:00"))
    first, last = at("2026-11-25T03:00"), at("2026-11-28T03:00")
    made, there = schedule_runs.backfill(here.store, "nightly", first, last, here.now)
    assert made == [f"nightly@2026-11-{day}T03:00+01:00" for day in (25, 26, 27)]
    assert there == 1
    for id in made:
        assert here.ready() == [id]
        here.end(id)
        here.advance(here.now + 1)
    assert schedule_runs.backfill(here.store, "nightly", first, last, here.now) == ([], 4)
    for wrong in ((last, here.now + HOUR), (last, first), (last + 1, last + 2), (at("2020-01-01T00:00"), last)):
        with pytest.raises(OptionError):
            schedule_runs.backfill(here.store, "nightly", *wrong, here.now)


def test_a_skipped_tick_that_gets_a_run_leaves_the_reason_of_its_neighbours(here: World) -> None:
    """T11: several ticks share a row; one of them that is filled in is taken out, and no other loses its reason."""
    here.declare(spec="0 * * * *", missed="skip")
    here.advance(at("2026-11-27T18:30"))
    assert here.told() == [("11-27T13:00", "missed", 6)]
    schedule_runs.backfill(here.store, "nightly", at("2026-11-27T15:00"), at("2026-11-27T16:00"), here.now)
    assert here.told() == [
        ("11-27T13:00", "missed", 2),
        ("11-27T15:00", "started", 1),
        ("11-27T16:00", "waiting", 1),
        ("11-27T17:00", "missed", 2),
    ]
    schedule_runs.backfill(here.store, "nightly", at("2026-11-27T13:00"), at("2026-11-27T13:00"), here.now)
    assert here.told()[:2] == [("11-27T13:00", "waiting", 1), ("11-27T14:00", "missed", 1)]


def test_a_removed_schedule_leaves_its_runs(here: World) -> None:
    """What has begun goes on, what waited for it is cancelled; declared again, no tick runs twice."""
    here.declare(spec="0 * * * *", missed="all")
    here.advance(at("2026-11-27T15:30"))
    assert schedules.remove(here.store, "nightly", here.now) == 2
    assert here.runs("cancelled") == [f"nightly@2026-11-27T{hour}:00+01:00" for hour in (14, 15)]
    assert here.ready() == ["nightly@2026-11-27T13:00+01:00"]
    here.now = at("2026-11-27T12:30")
    here.declare(spec="0 * * * *", missed="all")
    here.go_on(at("2026-11-27T16:30"))
    assert here.runs()[-1] == "nightly@2026-11-27T16:00+01:00"
    assert len(here.runs()) == 4


def test_what_is_paused_or_counts_already_stays_as_it_is(here: World) -> None:
    """Since when it counts, too. Nothing is skipped of a schedule that is paused; it is begun by hand all the same."""
    here.declare()
    before = here.row()
    assert msgspec.structs.asdict(schedules.resume(here.store, "nightly", here.now + HOUR)) == before
    paused = schedules.pause(here.store, "nightly", here.now)
    assert (paused.status, paused.due) == ("paused", None)
    assert schedules.pause(here.store, "nightly", here.now + HOUR) == paused
    with pytest.raises(OptionError, match="schedule 'nightly' is paused"):
        schedules.skip_next(here.store, "nightly", here.now)
    again = schedules.resume(here.store, "nightly", at("2026-11-28T12:00"))
    assert (again.status, again.due, again.since) == ("active", at("2026-11-29T03:00"), at("2026-11-28T12:00"))
    assert here.told() == [("11-28T03:00", "paused", 1)]


def test_a_schedule_that_was_taken_out_of_its_script_is_not_begun_by_hand(here: World) -> None:
    """Its runs would be of a workflow that is not there."""
    here.declare()
    assert schedules.undeclare(here.store, here.row()["script"], [], here.now) == ["nightly"]
    for begin in (
        lambda: schedule_runs.trigger(here.store, "nightly", here.now),
        lambda: schedule_runs.backfill(here.store, "nightly", here.now - DAY, here.now, here.now),
    ):
        with pytest.raises(OptionError):
            begin()
    assert here.runs() == []


def test_a_tick_whose_run_was_forked_is_as_the_fork(here: World) -> None:
    """The run that is superseded stays failed, and the fork has done its work."""
    here.declare()
    here.advance(at("2026-11-28T03:00"))
    (id,) = here.runs()
    here.end(id, "failed")
    store = here.store
    store.journal.write((), forks.fork(store, store.run(id), "fork-1", 1, here.now, child_id))
    here.end("fork-1")
    (tick,) = show_schedule(locate(store.path), "nightly").latest
    assert (tick.run, tick.status) == ("fork-1", "done")
