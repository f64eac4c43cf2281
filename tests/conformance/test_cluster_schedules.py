"""Schedules on a cluster: each tick once, with the ticks of a state file, and what `perdure schedule` changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.conformance.bench import Bench, note, steps

import perdure
from perdure import step, workflow
from perdure.engines.observers.fanout import FanOut
from perdure.engines.selection import cluster_at
from perdure.errors import NotFound, RunError
from perdure.operations import schedules
from perdure.operations.location import locate, opened
from perdure.operations.run import Execution
from perdure.operations.why import explain
from waiting import until

NAME = "every second on a cluster"
DAILY = "daily on a cluster"
QUEUED = "one after the other on a cluster"


@step(retry=None)
def due_in_step() -> str:
    found = perdure.tick()
    note("due")
    return "" if found is None else found.due.isoformat()


@workflow
def child_of_a_tick() -> str:
    return due_in_step()


@workflow(schedule="every 1s", tz="Europe/Berlin", name=NAME)
def ticked() -> list[str]:
    found = perdure.tick()
    return ["" if found is None else found.due.isoformat(), child_of_a_tick()]


@step(retry=None)
def do_order(order: int) -> int:
    note("order", order)
    return order


@workflow
def of_an_order(order: int) -> int:
    return do_order(order)


@workflow
def waits_for_go() -> object:
    return perdure.wait_for("go")


@pytest.fixture
def served(bench: Bench) -> Iterator[Bench]:
    """A worker of this file."""
    stop = threading.Event()
    engine = cluster_at(bench.engine)
    worker = threading.Thread(target=engine.serve, args=([ticked._spec.module], stop, 0.0))
    worker.start()
    until(lambda: shown(NAME) is not None)  # the script is declared
    yield bench
    for name in (NAME, DAILY, QUEUED):
        if shown(name) is not None:
            schedules.remove(locate(), name)
        until(lambda name=name: shown(name) is None)  # type: ignore[misc]
    stop.set()
    worker.join()


def shown(name: str) -> schedules.ScheduleView | None:
    """A schedule, if there is one."""
    return next((one for one in schedules.list_schedules(locate(), 1000) if one.name == name), None)


def runs_of(name: str) -> dict[str, str | None]:
    """The runs of a schedule, and how each stands."""
    view = shown(name)
    return {} if view is None else {tick.run: tick.status for tick in view.latest if tick.run is not None}


def test_ticks_make_runs_until_it_is_paused_and_removed(served: Bench) -> None:
    """A worker that has loaded the script declares it; each run knows its tick, in its steps and child runs, too."""
    until(lambda: list(runs_of(NAME).values()).count("done") > 1)
    for id in [id for id, status in runs_of(NAME).items() if status == "done"]:
        due = perdure.run(id).result(60)
        assert due[0] == due[1]
        assert datetime.fromisoformat(id.removeprefix(f"{NAME}@")) == datetime.fromisoformat(due[0])
    where = locate()
    schedules.pause(where, NAME)
    until(lambda: (shown(NAME) or pytest.fail("it is gone")).status == "paused")
    until(lambda: set(runs_of(NAME).values()) == {"done"})
    before = runs_of(NAME)
    id = schedules.trigger(where, NAME)
    assert id not in before
    assert perdure.run(until(lambda: id in runs_of(NAME) and id)).result(60)
    assert set(runs_of(NAME)) == {*before, id}
    assert schedules.resume(where, NAME) is not None
    until(lambda: len(runs_of(NAME)) > len(before) + 1)
    schedules.remove(where, NAME)
    until(lambda: shown(NAME) is None)
    with pytest.raises(NotFound, match="there is no schedule"):
        schedules.pause(where, NAME)


def test_past_ticks_are_made_one_after_the_other(served: Bench) -> None:
    """A schedule that a program declares; `backfill` makes what is missing in a stretch, in order, and once."""
    where, now = locate(), datetime.now(UTC)
    daily = f"0 {6 if now.hour >= 12 else 18} * * *"  # none is due while this test runs, nor at midnight
    perdure.schedule(of_an_order, daily, name=DAILY, args=(7,), tz="UTC")
    perdure.schedule(of_an_order, daily, name=DAILY, args=(8,), tz="UTC")
    until(lambda: shown(DAILY) is not None)
    first, last = ((now - timedelta(days=days)).date().isoformat() for days in (4, 1))
    made, there = schedules.backfill(where, DAILY, first, last)
    assert (len(made), there) == (3, 0)
    until(lambda: [runs_of(DAILY).get(id) for id in made] == ["done"] * 3)
    assert [one for one in steps() if one != "due"] == [("order", 8)] * 3
    assert schedules.backfill(where, DAILY, first, last) == ([], 3)
    assert len(schedules.next_ticks(where, DAILY, 2)) == 2
    assert schedules.skip(where, DAILY) is not None
    until(lambda: any(tick.reason == "by-hand" for tick in schedules.show_schedule(where, DAILY).latest))


def test_a_run_that_waits_for_one_before_it_is_found_and_cancelled(served: Bench) -> None:
    """It has no execution yet, and is listed as queued all the same; cancelled, it never begins."""
    where = locate()
    perdure.schedule(waits_for_go, "0 3 1 1 *", name=QUEUED, tz="UTC", overlap="queue")
    until(lambda: shown(QUEUED) is not None)
    ids = []
    for _ in range(2):
        ids.append(schedules.trigger(where, QUEUED))
        until(lambda: ids[-1] in runs_of(QUEUED))
    until(lambda: perdure.run(ids[0]).status() == "running")
    assert perdure.run(ids[1]).status() == "queued"
    with opened(where, ids[1]) as store:
        waiting = store.run(ids[1])
        said = explain(store, waiting, where)
    assert (said.status, "when the runs of its schedule before it have ended" in said.reasons[0]) == ("queued", True)
    with pytest.raises(RunError, match="begins when the runs of its schedule before it have ended"):
        Execution(waits_for_go, where, FanOut()).resume(waiting)
    assert perdure.run(ids[1]).cancel().outcome == "requested"
    until(lambda: perdure.run(ids[1]).status() == "cancelled")
    perdure.signal(ids[0], "go", 7)
    assert perdure.run(ids[0]).result(60) == 7
    until(lambda: runs_of(QUEUED).get(ids[0]) == "done")
    assert perdure.run(ids[1]).status() == "cancelled"
