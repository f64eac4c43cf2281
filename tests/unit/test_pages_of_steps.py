"""The records of a run, page by page: each that is meant once, in the order that was asked for, wherever pages end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.core.records import StepRecord
from perdure.errors import StateCorrupt
from perdure.store import step_pages
from perdure.store.runs import Store
from perdure.store.step_pages import Order, Wanted

ORDERS: tuple[Order, ...] = ("first", "last", "slowest")

FAILURES = {"once": 1, "good": 0, "dead": 9, "late": 2}
TRIES: dict[str, int] = {}
moves: list[Callable[[float], None]] = []


@step(name="paged plain", retry=None)
def plain(seconds: float) -> float:
    moves[0](seconds)
    return seconds


@step(name="paged flaky", retry=Retry(attempts=3, delay=1, jitter=0, on=Trouble))
def flaky(name: str) -> str:
    TRIES[name] = TRIES.get(name, 0) + 1
    moves[0](2.0)
    if TRIES[name] <= FAILURES[name]:
        raise Trouble(name)
    return name


@workflow(name="paged")
def paged() -> None:
    for seconds in (1.0, 5.0, 3.0):
        plain(seconds)
    flaky("once")
    batch = flaky.map(["good", "dead", "late"], concurrency=1)
    assert len(batch.dead) == 1
    plain(0.0)


@pytest.fixture
def rid(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(f"{__name__}.moves", [machine.world.sleep])
    monkeypatch.setattr(f"{__name__}.TRIES", {})
    paged()
    return machine.engine.store.runs()[0].rid


def seqs(found: Any) -> list[int]:
    return [record.seq for records in found for record in records]


def test_every_record_comes_once(machine: Machine, rid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are looked through in one go, and however many are on a page."""
    for size, most, order in itertools.product((1, 3, 1000), (1, 2, 200), ORDERS):
        monkeypatch.setattr(step_pages, "SLICE", size)
        comes_once(machine.engine.store, rid, most, order)


def comes_once(store: Store, rid: int, most: int, order: Order) -> None:
    records = list(store.all_records(rid))
    expected = sorted(records, key=lambda one: {"first": one.seq, "last": -one.seq, "slowest": -one.ms}[order])
    pages = list(step_pages.every(store, rid, Wanted(), order, most))
    assert all(0 < len(page) <= most for page in pages)
    assert sorted(seqs(pages)) == [record.seq for record in records]
    if order == "slowest":
        assert [record.ms for page in pages for record in page] == [record.ms for record in expected]
    else:
        assert seqs(pages) == [record.seq for record in expected]


ASKED: list[tuple[dict[str, Any], Callable[[StepRecord], bool]]] = [
    ({"name": "paged plain"}, lambda one: one.name == "paged plain"),
    ({"but": ("paged plain",)}, lambda one: one.name != "paged plain"),
    ({"status": "done"}, lambda one: one.status == "done"),
    ({"status": "dead"}, lambda one: one.status == "dead"),
    ({"status": "not done"}, lambda one: one.status != "done"),
    ({"again": True}, lambda one: one.attempts > 1),
    ({"waited": True}, lambda one: one.attempts > 1),
    ({"cut": True}, lambda one: False),
    ({"slow": 3000}, lambda one: one.ms >= 3000),
    ({"slow": 3001}, lambda one: one.ms >= 3001),
    ({"name": "paged flaky", "again": True, "status": "done"}, lambda one: one.attempts > 1 and one.status == "done"),
]


def test_the_records_that_are_meant(machine: Machine, rid: int) -> None:
    """By each of the questions, and by several, in each order."""
    store = machine.engine.store
    records = list(store.all_records(rid))
    for (wanted, meant), order in itertools.product(ASKED, ORDERS):
        expected = {record.seq for record in records if meant(record)}
        assert set(seqs(step_pages.every(store, rid, Wanted(**wanted), order, 2))) == expected, (wanted, order)


def test_the_records_of_a_time(machine: Machine, rid: int) -> None:
    """Begun at a moment or later, begun before it, over at it or later; the items of a map."""
    store = machine.engine.store
    records = list(store.all_records(rid))
    for record in records:
        at, end = record.started, record.started + record.ms / 1000

        def found(**wanted: Any) -> list[int]:
            return seqs(step_pages.every(store, rid, Wanted(**wanted)))

        assert found(since=at) == [one.seq for one in records if one.started >= at]
        assert found(until=at) == [one.seq for one in records if one.started < at]
        assert found(over=end) == [one.seq for one in records if one.started + one.ms / 1000 >= end]
    batches = {record.batch for record in records} - {None}
    assert len(batches) == 1
    assert found(batch=batches.pop()) == [one.seq for one in records if one.batch is not None]


def test_how_many_calls_there_are_of_each_step(machine: Machine, rid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what they came to, in the order of their first ones, however many are looked through in one go."""
    store = machine.engine.store
    records = list(store.all_records(rid))
    whole = step_pages.groups(store, rid)
    kinds = list(dict.fromkeys((one.name, one.kind, one.status) for one in records))
    assert [group[:3] for group in whole] == kinds
    for group in whole:
        mine = [one for one in records if (one.name, one.kind, one.status) == group[:3]]
        assert group.calls == len(mine)
        assert group.again == sum(one.attempts > 1 for one in mine)
        assert (group.waited, group.cut) == (group.again, 0), "a wait for the next attempt is one"
        assert (group.first, group.last) == (mine[0].seq, mine[-1].seq)
        assert group.began == min(one.started for one in mine)
        assert group.ended == max(one.started + one.ms / 1000 for one in mine)
        assert group.ms == sum(one.ms for one in mine)
    for size in (1, 2, 3):
        monkeypatch.setattr(step_pages, "SLICE", size)
        assert step_pages.groups(store, rid) == whole
        assert step_pages.count(store, rid, None, None) == len(records) == step_pages.last_number(store, rid)
        assert step_pages.count(store, rid, "paged plain", None) == 4
        assert step_pages.count(store, rid, "paged plain", 3) == 2
        assert step_pages.count(store, rid, None, None, ["paged plain"]) == len(records) - 4
        assert step_pages.tried_without_record(store, rid) == []
    assert step_pages.last_number(store, rid + 1) == 0


def test_the_failed_attempts_and_letters_of_records(machine: Machine, rid: int) -> None:
    """Of each call its own, in their order; of a call without a record its identity."""
    store = machine.engine.store
    records = list(store.all_records(rid))
    tries = step_pages.tries_of(store, rid, [(one.name, one.key, one.n) for one in records])
    failed = {one.seq: [each.number for each in tries.get((one.name, one.key, one.n), [])] for one in records}
    expected = {one.seq: list(range(1, one.attempts + (one.status != "done"))) for one in records}
    assert failed == expected
    (dead,) = [one for one in records if one.status == "dead"]
    assert list(step_pages.letters_of(store, rid, [one.seq for one in records])) == [dead.seq]
    assert step_pages.letters_of(store, rid, []) == {}
    assert step_pages.tried_names(store, rid) == ["paged flaky"]
    store.journal.write(
        (), lambda db: db.execute("DELETE FROM step WHERE run = ? AND seq = ?", (rid, dead.seq)) and None
    )
    assert step_pages.tried_without_record(store, rid) == [(dead.name, dead.key, dead.n)]


def test_a_record_that_was_changed_from_outside_is_listed_as_such(machine: Machine, rid: int) -> None:
    """Others are shown; who needs all of them whole is told."""
    store = machine.engine.store
    store.journal.write((), lambda db: db.execute("UPDATE step SET ms = 77 WHERE run = ? AND seq = 2", (rid,)) and None)
    found, following = step_pages.listed(store, rid, Wanted(), "first", (0, 0), 3)
    assert [one.seq for one in found] == [1, 2, 3]
    assert found[1] == step_pages.DamagedStep(2, "paged plain", 77)
    assert following is not None
    with pytest.raises(StateCorrupt):
        step_pages.chunk(store, rid, Wanted(), "first", (0, 0), 3)
    assert len(step_pages.chunk(store, rid, Wanted(), "first", following, 200)[0]) > 0
