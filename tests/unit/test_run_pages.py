"""Listings of runs and steps that skip, repeat, slow down with what they do not show, or end before all is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from listed_runs import BEGAN, VALUE, Listed, Questions, given

from perdure.core.records import StepRecord
from perdure.errors import OptionError
from perdure.operations import run_counts as counting
from perdure.operations.find_run import find_run
from perdure.operations.ps import RunFilter, each_run, runs_page
from perdure.operations.run_counts import run_counts
from perdure.operations.run_views import RunView, Standing, view_of
from perdure.operations.step_groups import groups_of
from perdure.operations.step_rows import StepFilter, step_rows
from perdure.store import run_pages, step_pages
from perdure.store.rows import sealed
from perdure.store.statements import load


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


def pages(listed: Listed, wanted: RunFilter, limit: int, **options: Any) -> Iterator[list[RunView]]:
    """All pages, by their cursors."""
    cursor: str | None = None
    while True:
        page = runs_page(listed.store, wanted, cursor=cursor, limit=limit, **options)
        yield page.runs
        cursor = page.next
        if cursor is None:
            return


def shelf(listed: Listed) -> None:
    """Runs of every standing that needs no process, of two workflows, some with child runs that have dead letters."""
    for number in range(40):
        status = ("done", "failed", "cancelled", "suspended", "running", "parked", "queued", "done")[number % 8]
        run = listed.run(f"r{number}", status, ("sell", "bill")[number % 3 % 2])
        if number % 8 == 1:
            listed.steps(run, "load")
            listed.tried(run, "charge", 9, 2)
        if number % 5 == 0:
            child = listed.run(f"r{number}.child", "done", "part", parent=run.rid)
            listed.steps(child, "item", "item", status="dead" if number % 10 == 0 else "done", attempts=2)

    source, fork = listed.run("source", "failed"), listed.run("fork", "failed")
    listed.store.journal.write((), lambda connection: listed.store.put_run(connection, source, superseded_by=fork.rid))


def test_pages_give_each_run_that_is_meant_once_whatever_is_added_meanwhile(
    listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each filter the pages are what looking at every run alone gives, newest first, in windows of any size; runs
    that come between two pages neither move nor repeat others."""
    shelf(listed)
    monkeypatch.setattr(run_pages, "WINDOW", 7)
    standings: list[Standing | None] = [None, *get_args(Standing)]
    everyone = [listed.store.run_by_number(rid) for rid in range(run_pages.last_number(listed.store), 0, -1)]
    alone = {run.rid: view_of(listed.store, run) for run in everyone}
    assert {view.status for view in alone.values()} >= {
        *("dead", "done", "failed", "interrupted", "parked", "queued", "superseded", "cancelled", "suspended")
    }
    for status in standings:
        for workflow in (None, "bill"):
            for children in (False, True):
                wanted = RunFilter(status, workflow, children)
                expected = [
                    view.id
                    for run in everyone
                    if (view := alone[run.rid])
                    and status in (None, view.status)
                    and workflow in (None, view.workflow)
                    and (children or not view.child)
                ]
                found = []
                for shown in pages(listed, wanted, 3):
                    assert len(shown) <= 3
                    found += shown
                    if status is None and len(found) == 3:
                        listed.run(f"late-{workflow}-{children}", workflow=workflow or "sell")
                        everyone.insert(0, listed.store.run(f"late-{workflow}-{children}"))
                        alone[everyone[0].rid] = view_of(listed.store, everyone[0])
                assert [view.id for view in found] == expected, wanted
                assert found == [alone[run.rid] for run in everyone if run.id in expected], wanted
    assert [view.id for view in each_run(listed.store, RunFilter(text="r21"))] == ["r21"]
    root = listed.store.run("r10")
    assert [view.id for view in each_run(listed.store, RunFilter(parent=root.rid))] == ["r10.child"]


def test_a_page_costs_what_it_shows(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state file is asked as often for 100 runs as for 10, and no more often if there are many more in the file."""
    for number in range(10):
        listed.steps(listed.run(f"r{number}"), "load")
    questions = Questions(listed.store, monkeypatch)
    assert len(runs_page(listed.store).runs) == 10
    few, questions.asked = questions.asked, 0
    for number in range(10, 150):
        listed.steps(listed.run(f"r{number}"), "load")
    questions.asked = 0
    assert len(runs_page(listed.store, limit=100).runs) == 100
    assert questions.asked == few


def test_runs_that_are_named_are_counted_without_a_look_at_others(listed: Listed) -> None:
    """Those with dead letters are few: SQLite does as much for them, however many others are done."""
    steps = [0]

    def step() -> bool:
        steps[0] += 1
        return False

    def taken() -> int:
        steps[0] = 0
        assert run_pages.count(listed.store, run_pages.Wanted("done"), 5, [1, 2]) == 2
        return steps[0]

    for number in range(5):
        listed.run(f"r{number}")
    listed.store.journal.read(lambda connection: connection.set_progress_handler(step, 1))
    few = taken()
    for number in range(5, 60):
        listed.run(f"r{number}")
    assert 0 < taken() <= few + 5


def test_a_call_that_was_not_made_lies_where_the_one_before_it_ended(listed: Listed) -> None:
    """Its breaker was open, for instance: its record has no time, and is not of the year 1970."""
    run = listed.run("r", "failed")
    listed.steps(run, "wait", status="failed", attempts=0)
    listed.steps(run, "pay")
    listed.steps(run, "pay", "pay", status="failed", attempts=0)
    assert [(row.at, row.ms) for row in step_rows(listed.store, run).steps] == [(0, 5), (2000, 5), (2005, 5), (2005, 5)]
    assert [(one.step, one.started and one.started.timestamp()) for one in groups_of(listed.store, run)] == [
        ("wait", None),
        ("pay", BEGAN + 2),
    ]


def test_a_page_that_takes_too_long_is_left_with_a_cursor(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """No time at all: each page looks through one window, and all of them together still find everything."""
    monkeypatch.setattr(run_pages, "WINDOW", 4)
    for number in range(30):
        listed.run(f"r{number}", "failed" if number in (3, 20) else "done")
    got = list(pages(listed, RunFilter("failed", text="r"), 10, seconds=0.0))
    assert [[view.id for view in page] for page in got if page] == [["r20"], ["r3"]]
    assert len(got) == 8


def test_steps_that_are_too_many_are_not_counted_for_a_listing(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the number of the last one is shown, and that it was not counted; the error and the inputs are in a line."""
    monkeypatch.setattr(run_pages, "COUNTED", 5)
    run = listed.run("long", "failed")
    listed.steps(run, *["item"] * 8)
    listed.steps(listed.run("short"), *["item"] * 5)
    short, long = runs_page(listed.store).runs
    assert (short.steps, short.counted, long.steps, long.counted) == (5, True, 8, False)
    assert (long.error, long.inputs, short.error) == ("ValueError: no money", "('long')", None)


def test_pages_of_steps_give_each_one_once(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards, backwards and the slowest first, with and without a filter, in slices of any size; each with the failed
    attempts of its own call before the last, and its dead letter."""
    monkeypatch.setattr(step_pages, "SLICE", 4)
    run, other = listed.run("run"), listed.run("other")
    for number in range(12):
        name = ("load", "charge")[number % 2]
        listed.steps(
            run, name, status="dead" if number % 4 == 3 else "done", attempts=1 + number % 3, ms=number * 7 % 5
        )
        listed.steps(other, "load", attempts=3)

    def all_of(order: Any, **filters: Any) -> list[Any]:
        cursor, found = None, []
        while True:
            page = step_rows(listed.store, run, StepFilter(**filters), order=order, cursor=cursor, limit=5)
            found += page.steps
            cursor = page.next
            if cursor is None:
                return found

    forwards = all_of("first")
    assert [one.seq for one in forwards] == list(range(1, 13))
    assert all_of("last") == forwards[::-1]
    slowest = all_of("slowest")
    assert slowest == sorted(forwards, key=lambda one: (-one.ms, -one.seq))
    assert (
        [one.seq for one in forwards if one.letter] == [4, 8, 12] == [one.seq for one in all_of("first", show="dead")]
    )
    assert all(len(one.failures) == one.attempts - 1 for one in forwards)
    assert all_of("last", step="charge", show="retried") == [
        one for one in forwards[::-1] if one.name == "charge" and one.attempts > 1
    ]
    assert [one.seq for one in all_of("first", longer=4)] == [one.seq for one in forwards if one.ms >= 4]
    assert step_rows(listed.store, run, StepFilter(text="nothing of that")).next is None


def test_calls_that_waited_or_were_broken_off_are_counted_and_found(listed: Listed) -> None:
    """By the step and by the run; a call says when it was made only if it waited before its first attempt."""
    run = listed.run("run")
    listed.steps(run, "load", "charge")
    listed.steps(run, "charge", waits='{"rate": 400}', asked=400)
    listed.steps(run, "charge", lives=2)
    listed.steps(run, "load", attempts=2, waits='{"retry": 900}', asked=10)
    assert [(one.step, one.waited, one.cut) for one in groups_of(listed.store, run)] == [
        ("load", 1, 0),
        ("charge", 1, 1),
    ]
    shown = {show: step_rows(listed.store, run, StepFilter(show=show)).steps for show in ("waited", "cut", "all")}
    assert [one.seq for one in shown["waited"]] == [3, 5]
    assert [one.seq for one in shown["cut"]] == [4]
    assert [None if one.made is None else one.at - one.made for one in shown["all"]] == [None, None, 400.0, None, None]


def test_runs_are_counted_as_they_are_listed(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each count beside a filter is how many runs that filter lists; where counting ends, it says so."""
    shelf(listed)
    for workflow, children in ((None, False), (None, True), ("sell", False)):
        found = run_counts(listed.store, workflow, children)
        assert found.more == []
        for standing in get_args(Standing):
            runs = (
                []
                if standing == "superseded"
                else runs_page(listed.store, RunFilter(standing, workflow, children)).runs
            )
            assert found.counts.get(standing, 0) == len(runs), (standing, workflow, children)
    monkeypatch.setattr(counting, "MOST", 3)
    few = run_counts(listed.store)
    assert (few.counts["failed"], few.counts["parked"]) == (3, 3)
    assert {"failed", "parked"} <= set(few.more)


def test_finding_a_run_does_not_read_the_ids_of_others(listed: Listed) -> None:
    """By its id or the beginning of it: SQLite takes no more steps where there are ten times as many runs."""

    def steps_of(reference: str) -> int:
        taken = [0]
        tick = lambda: taken.__setitem__(0, taken[0] + 1) or False  # noqa: E731
        listed.store.journal.read(lambda connection: connection.set_progress_handler(tick, 10))
        find_run(listed.store, reference)
        return taken[0]

    for number in range(20):
        listed.run(f"run-{number}")
    listed.run("other-1")
    few = steps_of("run-7"), steps_of("other")
    for number in range(20, 200):
        listed.run(f"run-{number}")
    many = steps_of("run-7"), steps_of("other")
    assert all(more <= less + 3 for less, more in zip(few, many, strict=True)), (few, many)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1-", "9" * 40, "\uff11"])
def test_what_is_no_cursor_is_refused(listed: Listed, cursor: str) -> None:
    """By name, for runs and for steps; nothing is taken for the beginning."""
    run = listed.run("run")
    with pytest.raises(OptionError, match="the cursor is"):
        runs_page(listed.store, cursor=cursor)
    with pytest.raises(OptionError, match="the cursor is"):
        step_rows(listed.store, run, cursor=cursor)


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({}, 1.0),
        ({"queue": "mail", "timed_from": BEGAN + 0.75}, 0.25),
        ({"queue": "mail", "status": "cancelled", "output": None}, None),
    ],
)
def test_the_time_in_a_queue_is_no_time_that_a_run_took(listed: Listed, change: dict[str, Any], seconds: float) -> None:
    """It counts from when it was begun; one that was cancelled in its queue took none."""
    run = msgspec.structs.replace(listed.run("run"), rid=0, id="other", **change)
    listed.store.journal.write((), lambda connection: listed.store.insert_run(connection, run))
    assert view_of(listed.store, listed.store.run("other")).seconds == seconds


def test_a_fork_that_died_has_taken_as_long_as_is_known(listed: Listed) -> None:
    """Its last record may be of what had ended before it began: the end of another run, or a step of its source."""
    run = msgspec.structs.replace(listed.run("source", "running"), rid=0, id="fork", created=BEGAN + 2)
    run = listed.store.journal.write((), lambda connection: listed.store.insert_run(connection, run))
    listed.steps(run, "a", "b", "c")
    old = StepRecord(4, "perdure.result:o", bytes(16), 0, "done", given(1), VALUE, BEGAN - 9, 5, 1, 0, "builtin")
    row = (run.rid, *msgspec.structs.astuple(old.sealed(run.rid)))
    listed.store.journal.write((), lambda connection: listed.store.insert_rows(connection, [row]))
    assert view_of(listed.store, listed.store.run("fork")).seconds == pytest.approx(1.005)
    row = sealed(run.rid, 1, 1, BEGAN + 2, BEGAN + 6, "died", None, "1", None, None)
    put = f"INSERT INTO session VALUES ({', '.join('?' * len(row))})"
    listed.store.journal.write((), lambda connection: connection.execute(put, row) and None)
    assert view_of(listed.store, listed.store.run("fork")).seconds == 4.0


def test_text_that_is_looked_for_is_in_the_inputs(listed: Listed) -> None:
    """As a person types it, also with characters that are several bytes."""
    run = listed.run("run")
    other = msgspec.structs.replace(run, rid=0, id="second", input=given("Frau Müller"))
    listed.store.journal.write((), lambda connection: listed.store.insert_run(connection, other))
    assert [view.id for view in each_run(listed.store, RunFilter(text="Müller"))] == ["second"]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (run_pages.Wanted(), "run_root (parent=? AND rowid>? AND rowid<?)"),
        (run_pages.Wanted(status="failed", superseded=False), "run_status (status=? AND parent=?"),
        (run_pages.Wanted(status="failed", workflow="sell"), "run_workflow (workflow=? AND status=? AND parent=?"),
        (run_pages.Wanted(status="done", workflow="sell"), "run_workflow (workflow=? AND status=? AND parent=?"),
        (run_pages.Wanted(status="done"), "run_root (parent=? AND rowid>? AND rowid<?)"),
        (run_pages.Wanted(status="queued", workflow="sell"), "run_status (status=? AND parent=?"),
        (run_pages.Wanted(parent=1), "(parent=?"),
        (run_pages.Wanted(workflow="sell"), "rowid>? AND rowid<?"),
        (run_pages.Wanted(meets=bool, children=True), "rowid>? AND rowid<?"),
    ],
)
def test_a_page_is_found_by_an_index(listed: Listed, wanted: run_pages.Wanted, index: str) -> None:
    """Without reading past runs that are not meant, or in a window of bounded size; nothing is sorted for it."""
    statement, given = run_pages.question(wanted, 10, 5)
    plan: Any = listed.store.journal.read(
        lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
    )
    (line,) = [text for *_, text in plan]
    assert index in line


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        ("undone", ["step_other (run=? AND kind=?)", "run_child (parent=?)"]),
        ("begun", ["step_other (run=? AND kind=?)"]),
        ("shared", ["run_key (key=?)"]),
    ],
)
def test_what_is_kept_of_a_run_is_found_by_indexes(listed: Listed, statement: str, indexes: list[str]) -> None:
    """However many steps and child runs it has: no statement reads past all of them. `shared` looks at 1,000."""
    text = load("kept_runs.sql")[statement]
    plan: Any = listed.store.journal.read(
        lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {text}", (1, 5)[: text.count("?2") + 1]).fetchall()
    )
    lines = [line for *_, line in plan]
    assert all(any(index in line for line in lines) for index in indexes), lines
    by_number = [line for line in lines if "PRIMARY KEY (run=?)" in line]
    assert len(by_number) == text.count("LIMIT 1000")
