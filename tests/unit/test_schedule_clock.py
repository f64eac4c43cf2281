"""The clock of schedules on a state file: each tick once or with a reason, whatever time, runs and people do."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from schedule_world import DAY, MINUTE, World, at, world
from test_claims import RUN

from perdure.errors import OptionError
from perdure.store import bell, run_rows, schedule_clock, schedule_runs, schedules
from perdure.store.liveness import locks_of


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_a_tick_is_a_queued_run_whose_id_follows_from_it(here: World) -> None:
    """T9: NAME@LOCAL TIME with the offset, named, queued, due; the same tick is not made again."""
    here.declare(queue="mail")
    assert here.advance(at("2026-11-28T02:59:59.9")) == at("2026-11-28T03:00")
    assert here.runs() == []
    following = here.advance(at("2026-11-28T03:00"))
    assert following == at("2026-11-28T03:00") + 3600, "it looks again within an hour, for changes of time zones"
    assert here.ready() == ["nightly@2026-11-28T03:00+01:00"]
    run = here.store.run(here.ready()[0])
    assert (run.named, run.status, run.queue, run.priority, run.workflow) == (True, "queued", "mail", 5, "nightly")
    here.advance(at("2026-11-28T03:00:01"))
    assert len(here.runs()) == 1


def test_one_local_time_that_comes_twice_has_two_ids(here: World) -> None:
    """T9: in the night in which the clocks go back, each tick of an hourly schedule has its run."""
    here.now = at("2026-10-25T01:30")
    here.declare(spec="0 * * * *")
    here.go_on(at("2026-10-25T04:30"))
    assert [id[8:] for id in here.runs()] == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T03:00+01:00",
        "2026-10-25T04:00+01:00",
    ]


@pytest.mark.parametrize("status", ["queued", "running", "suspended"])
def test_an_unfinished_run_meets_the_next_tick(here: World, status: str) -> None:
    """Table 2: a suspended run counts as unfinished, one that failed does not."""
    for name in ("skip", "queue", "allow", "cancel"):
        here.declare(name, "0 * * * *", overlap=name)
    here.advance(at("2026-11-27T13:00"))
    for name in ("skip", "queue", "allow", "cancel"):
        here.set(f"{name}@2026-11-27T13:00+01:00", status=status, wake=None if status != "queued" else here.now)
    here.advance(at("2026-11-27T14:00"))
    assert here.told("skip")[-1] == ("11-27T14:00", "overlap", 1)
    assert here.told("queue")[-1] == ("11-27T14:00", "waiting", 1)
    assert here.told("allow")[-1] == ("11-27T14:00", "started", 1)
    old = here.store.run("cancel@2026-11-27T13:00+01:00")
    if status == "queued":  # it had not begun: it is gone at once
        assert old.status == "cancelled"
        assert here.told("cancel")[-1] == ("11-27T14:00", "started", 1)
    else:
        assert old.stop == here.now
        assert (old.status, old.wake) == ("suspended", here.now), "a worker goes on with it, and makes its clean-ups"
        assert here.told("cancel")[-1] == ("11-27T14:00", "waiting", 1)
        assert schedule_runs.replaced_by(here.store, old.rid) == "cancel@2026-11-27T14:00+01:00", "a worker says so"
        here.end(old.id, "cancelled")
        here.advance(here.now + 1)
        assert here.told("cancel")[-1] == ("11-27T14:00", "started", 1)
    here.advance(at("2026-11-27T15:00"))
    assert here.told("skip")[-1] == ("11-27T14:00", "overlap", 2), "one row for ticks of one reason"
    assert here.told("queue")[-1] == ("11-27T15:00", "overlap", 1)
    here.end("skip@2026-11-27T13:00+01:00", "failed")
    here.end("queue@2026-11-27T13:00+01:00", "done")
    following = here.advance(at("2026-11-27T15:00:01"))
    assert "queue@2026-11-27T14:00+01:00" in here.ready()
    here.advance(at("2026-11-27T16:00"))
    assert here.told("skip")[-1] == ("11-27T16:00", "started", 1)
    assert following is not None
    assert schedule_runs.replaced_by(here.store, here.store.run("skip@2026-11-27T13:00+01:00").rid) is None


def test_a_waiting_run_is_looked_after_every_second(here: World) -> None:
    """T4: nobody has to ring when the run before ends."""
    here.declare(spec="0 * * * *", overlap="queue")
    here.advance(at("2026-11-27T13:00"))
    assert here.advance(at("2026-11-27T14:00")) == at("2026-11-27T14:00:01")
    here.end("nightly@2026-11-27T13:00+01:00", "failed")
    here.advance(at("2026-11-27T14:00:01"))
    assert here.ready() == ["nightly@2026-11-27T14:00+01:00"]


def test_the_end_of_a_run_rings_for_the_next_one_of_its_schedule(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that were missed are caught up with as fast as they execute, not one a second."""
    rung: list[str] = []
    monkeypatch.setattr(run_rows.bell, "ring", lambda _, suffix=bell.SUFFIX: rung.append(suffix))
    here.declare(spec="0 * * * *", overlap="queue", missed="all")
    here.advance(at("2026-11-27T14:00"))
    for hour, expected in ((13, True), (14, False)):
        rung.clear()
        here.execute(f"nightly@2026-11-27T{hour}:00+01:00")
        assert (bell.SUFFIX in rung) is expected
        here.advance()


def test_missed_ticks_are_caught_up_with(here: World, caplog: pytest.LogCaptureFixture) -> None:
    """Table 3 and T11: one run stands for all, or each has its own in turn, or none; one warning; a row for each."""
    for missed in ("skip", "one", "all"):
        here.declare(missed, "0 * * * *", missed=missed)
    with caplog.at_level(logging.INFO, "perdure"):
        here.advance(at("2026-11-27T17:30"))
    assert here.told("skip") == [("11-27T13:00", "missed", 5)]
    assert here.told("one") == [("11-27T13:00", "missed", 4), ("11-27T17:00", "started", 1)]
    assert here.ticks("one")[-1].missed == 5
    assert [reason for _, reason, _ in here.told("all")] == ["started", *["waiting"] * 4]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sorted(line.split(":")[0] for line in warnings) == ["schedule all", "schedule one", "schedule skip"]
    assert "5 ticks were missed (2026-11-27T13:00+01:00 to 2026-11-27T17:00+01:00): 1 run made" in warnings[1]
    for hour in range(13, 18):
        assert f"all@2026-11-27T{hour}:00+01:00" in here.ready()
        here.end(f"all@2026-11-27T{hour}:00+01:00", "failed" if hour == 14 else "done")
        here.advance(here.now + 1)
    assert here.told("all")[:-1] == [(f"11-27T{hour}:00", "ended", 1) for hour in range(13, 17)]
    assert here.ticks("all")[-1].previous == at("2026-11-27T16:00")


def test_what_is_too_old_is_one_row(here: World) -> None:
    """T11: older than within=, or more than 1,000: told, and not caught up with, however long nobody served."""
    here.declare(spec="0 3 * * *", within=2 * DAY)
    here.declare("often", "every 1s", within=DAY)
    here.advance(at("2027-11-27T12:00"))
    assert here.told()[0] == ("11-28T03:00", "too-old", 363)
    assert here.told()[1:] == [("11-26T03:00", "missed", 1), ("11-27T03:00", "started", 1)]
    rows = here.ticks("often")
    assert [(row.reason or row.outcome, row.ticks) for row in rows] == [
        ("too-old", None),
        ("missed", 999),
        ("started", 1),
    ]
    assert rows[0].last == here.now - 1000


def test_a_schedule_that_is_edited_or_resumed_counts_anew(here: World) -> None:
    """C35, table 3: nothing of before is caught up with; what was due meanwhile is told."""
    here.declare(spec="0 * * * *", missed="all")
    schedules.pause(here.store, "nightly", here.now)
    assert here.advance(at("2026-11-27T15:30")) is None
    assert here.told() == []
    assert schedules.resume(here.store, "nightly", here.now).due == at("2026-11-27T16:00")
    assert here.told() == [("11-27T13:00", "paused", 3)]
    here.now = at("2026-11-27T18:30")
    here.declare(spec="30 * * * *", missed="all")
    assert here.told()[1:] == [("11-27T16:00", "edited", 3)]
    assert here.row()["since"] == here.now
    here.advance(at("2026-11-27T19:30"))
    assert here.ready() == ["nightly@2026-11-27T19:30+01:00"]
    since = here.row()["since"]
    here.declare(spec="30 * * * *", missed="one", overlap="allow")
    assert here.row()["since"] == since, "other options do not begin anew"


def test_the_last_declaration_wins_and_says_so(here: World, caplog: pytest.LogCaptureFixture) -> None:
    """C40: a change is logged with what it was; the same declaration again writes and says nothing."""
    with caplog.at_level(logging.INFO, "perdure"):
        here.declare()
        here.declare()
        here.declare(overlap="queue")
        here.declare(overlap="queue")
        here.declare(overlap="queue", key=bytes([1] * 16))
        here.declare(script="other.py", path="/other.py")
        here.declare(spec="0 0 1 * MON")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "schedule nightly is declared: 0 3 * * * (Europe/Berlin)"
    assert lines[1] == "schedule nightly was changed: overlap 'skip' -> 'queue'"
    assert lines[2] == "schedule nightly was changed: its arguments"
    assert "declared by /other.py now" in lines[3]
    assert "or the weekday" in lines[-1]


def test_a_script_that_has_lost_its_schedule_undeclares_it(here: World) -> None:
    """Table 4: no more ticks; kept until it is removed; declared again, it counts anew."""
    here.declare()
    here.declare("made-at-run-time", origin="call")
    assert schedules.undeclare(here.store, "jobs.py", {"other"}, here.now) == ["nightly"]
    assert here.row("made-at-run-time")["status"] == "active"
    here.advance(at("2026-11-29T12:00"))
    assert not [id for id in here.runs() if id.startswith("nightly@")]
    for refused in (schedules.pause, schedules.resume, schedule_runs.trigger, schedules.skip_next):
        with pytest.raises(OptionError, match="undeclared"):
            refused(here.store, "nightly", here.now)
    with pytest.raises(OptionError, match="undeclared"):
        schedule_runs.backfill(here.store, "nightly", here.now - 5 * DAY, here.now, here.now)
    here.declare()
    assert here.told() == [("11-28T03:00", "undeclared", 2)]
    here.advance(at("2026-11-30T03:00"))
    assert "nightly@2026-11-30T03:00+01:00" in here.ready()


def test_a_clock_that_is_set_back_repeats_nothing(here: World, caplog: pytest.LogCaptureFixture) -> None:
    """T9, T17: ticks that have run do not run again, and the schedule does not wait for the time that it had seen."""
    here.declare(spec="0 * * * *")
    here.go_on(at("2026-11-27T15:30"))
    here.advance(at("2027-11-27T12:00"))  # a year ahead
    here.end_all()
    before = here.runs()
    assert before[-1] == "nightly@2027-11-27T12:00+01:00"
    with caplog.at_level(logging.WARNING, "perdure"):
        here.advance(at("2026-11-27T13:30"))
    assert "the clock was set back by 364 d 22 h" in caplog.records[-1].getMessage()
    here.go_on(at("2026-11-27T17:30"))
    assert here.runs() == [*before, "nightly@2026-11-27T16:00+01:00", "nightly@2026-11-27T17:00+01:00"]


def test_ticks_that_had_runs_before_the_clock_was_set_back_keep_their_rows(
    here: World, caplog: pytest.LogCaptureFixture
) -> None:
    """T10: the clock is set back and right again: what was not served meanwhile is skipped around them, and said."""
    here.declare()
    here.go_on(at("2026-11-30T12:00"))
    served = here.told()
    assert [due for due, *_ in served] == ["11-28T03:00", "11-29T03:00", "11-30T03:00"]
    here.advance(at("2026-11-26T12:00"))
    with caplog.at_level(logging.WARNING, "perdure"):
        here.advance(at("2026-12-05T12:00"))
    assert here.told() == [
        ("11-27T03:00", "too-old", 1),
        *served,
        ("12-01T03:00", "too-old", 4),
        ("12-05T03:00", "started", 1),
    ]
    assert "from 2026-11-27T03:00+01:00 to 2026-12-04T03:00+01:00" in caplog.text
    assert ", but for those that were decided before" in caplog.text


def test_a_schedule_that_is_paused_passes_over_no_run(here: World) -> None:
    """Of the ticks that it does not catch up with, those that had a run, or were triggered by hand, are left alone."""
    here.declare(spec="0 * * * *", overlap="allow")
    here.go_on(at("2026-11-27T14:30"))
    here.advance(at("2026-11-27T11:30"))
    schedules.pause(here.store, "nightly", here.now)
    for minute in (40, 45, 50):
        schedule_runs.trigger(here.store, "nightly", at(f"2026-11-27T15:{minute}"))
    here.now = at("2026-11-27T17:30")
    schedules.resume(here.store, "nightly", here.now)
    assert [row[:2] for row in here.told()] == [
        ("11-27T12:00", "paused"),
        ("11-27T13:00", "ended"),
        ("11-27T14:00", "ended"),
        ("11-27T15:00", "paused"),
        ("11-27T15:40", "started"),
        ("11-27T15:45", "started"),
        ("11-27T15:50", "started"),
        ("11-27T16:00", "paused"),
    ]


def test_a_spread_puts_ticks_off(here: World) -> None:
    """C47: the run begins later, by what follows from the name; its id is that of the tick."""
    here.declare(spread=600.0)
    due = here.row()["due"]
    assert at("2026-11-28T03:00") < due < at("2026-11-28T03:10")
    here.advance(due - 1)
    assert here.runs() == []
    here.advance(due)
    assert here.ready() == ["nightly@2026-11-28T03:00+01:00"]


def test_a_zone_that_changes_moves_what_is_to_come(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beirut 2023: the data of zones may change with days of notice; nothing computed before is relied on."""
    here.declare()
    assert here.row()["due"] == at("2026-11-28T03:00")
    from zoneinfo import ZoneInfo

    monkeypatch.setattr(schedule_clock, "zone", lambda name: ZoneInfo("Europe/London"))
    here.advance(here.now + schedule_clock.RECOUNT)
    assert here.row()["due"] == at("2026-11-28T04:00")
    here.advance(at("2026-11-28T03:00"))
    assert here.runs() == []
    here.advance(at("2026-11-28T04:00"))
    assert len(here.runs()) == 1


def test_one_schedule_that_cannot_count_harms_no_other(
    here: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A zone that is gone from the machine is said once and tried again each minute; the others go on."""
    here.declare("lost")
    here.declare("fine", tz="UTC")
    real = schedule_clock.zone

    def gone(name: object) -> object:
        if name == "Europe/Berlin":
            raise OptionError("tz is 'Europe/Berlin', which is no time zone known here", "install it")
        return real(name)

    monkeypatch.setattr(schedule_clock, "zone", gone)
    monkeypatch.setattr(schedule_clock, "_refused", set())
    assert here.advance(at("2026-11-28T04:00")) == at("2026-11-28T04:01")
    assert here.runs() == ["fine@2026-11-28T03:00+00:00"]
    here.advance(at("2026-11-28T04:01"))
    (said,) = [record.getMessage() for record in caplog.records if record.name == "perdure"]
    assert said.startswith("schedule lost does not count: tz is 'Europe/Berlin'")
    monkeypatch.setattr(schedule_clock, "zone", real)
    here.advance(here.now + MINUTE)
    assert "lost@2026-11-28T03:00+01:00" in here.runs()


def test_a_run_that_is_replaced_is_told_so_where_it_runs(here: World) -> None:
    """Its process looks into the file when its lock is touched, and ends the run with its clean-ups."""
    here.declare("cancel", spec="0 * * * *", overlap="cancel")
    here.advance(at("2026-11-27T13:00"))
    store = here.store
    hid = store.journal.write((), lambda connection: store.holder.hid(connection, here.now))
    here.set("cancel@2026-11-27T13:00+01:00", status="running", holder=hid, wake=None)
    (lock,) = locks_of(store.path).glob(f"{store.holder.token}.lock")
    os.utime(lock, (1.0, 1.0))
    here.advance(at("2026-11-27T14:00"))
    run = store.run("cancel@2026-11-27T13:00+01:00")
    assert (run.status, run.stop, run.wake) == ("running", here.now, None)
    assert lock.stat().st_mtime > 1.0
    os.utime(lock, (1.0, 1.0))
    here.advance(at("2026-11-27T15:00"))
    assert store.run(run.id).stop == run.stop, "since when it is to stop is said once"


def test_a_tick_whose_run_is_there_already_makes_no_other(here: World) -> None:
    """Somebody has begun a run of that id: it stands for the tick, which says so."""
    here.declare()
    id = "nightly@2026-11-28T03:00+01:00"
    run = msgspec.structs.replace(RUN, id=id, status="queued", wake=None)
    here.store.journal.write((), lambda connection: here.store.insert_run(connection, run) and None)
    here.advance(at("2026-11-28T03:00"))
    assert here.runs() == [id]
    assert here.told() == [("11-28T03:00", "exists", 1)]
    here.advance(at("2026-11-29T03:00"))
    assert len(here.runs()) == 2
