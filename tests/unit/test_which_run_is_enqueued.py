"""What is enqueued is one run by its id, its dedup key or its inputs, and gets its turn behind those of its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.core.execution.queueing import QueuedRun
from perdure.core.execution.run_effects import Start
from perdure.core.records import RunRecord
from perdure.errors import OtherInputs, StateCorrupt
from perdure.store import queue
from perdure.store.queue import AFTER_OTHERS
from perdure.store.runs import Store

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


def run(fresh: str, key: int = 1, workflow: str = "job", **how: Any) -> QueuedRun:
    of_start = {name: how.pop(name) for name in ("id", "named", "once") if name in how}
    return QueuedRun(Start("s.py", "/s.py", workflow, bytes([key]) * 16, b"\x90", fresh, **of_start), "mail", **how)


def named(id: str, key: int = 1, workflow: str = "job", **how: Any) -> QueuedRun:
    return run("fresh", key, workflow, id=id, named=True, **how)


def add(store: Store, *queued: QueuedRun, now: float = NOW) -> tuple[list[str], list[str]]:
    ended: list[RunRecord] = []
    ids = store.journal.write((), lambda connection: queue.add(store, connection, queued, now, ended))
    return ids, [each.id for each in ended]


def end(store: Store, id: str, status: str = "done") -> None:
    found, output = store.run(id), None if status == "cancelled" else b"\xc0"
    store.journal.write((), lambda at: store.put_run(at, found, status=status, output=output, ended=NOW) and None)


def begun(store: Store, id: str) -> None:
    found = store.run(id)
    store.journal.write((), lambda connection: queue.begun(store, connection, found, NOW))


def turns(store: Store, *ids: str) -> list[int | None]:
    return [store.run(id).turn for id in ids]


def test_an_id_stands_for_one_run(store: Store) -> None:
    """Enqueued again it is that run, also within one call and when it has ended, which is said."""
    assert add(store, named("a"), named("a"), run("b")) == (["a", "a", "b"], [])
    assert add(store, named("a"), run("c")) == (["a", "c"], [])
    end(store, "a")
    assert add(store, named("a"), named("a")) == (["a", "a"], ["a"])
    assert sorted(each.id for each in store.runs()) == ["a", "b", "c"]


@pytest.mark.parametrize("other", [named("a", key=2), named("a", workflow="another")])
def test_an_id_with_other_inputs_is_refused(store: Store, other: QueuedRun) -> None:
    """Also within one call; nothing is written then."""
    with pytest.raises(OtherInputs):
        add(store, run("b"), named("a"), other)
    assert list(store.runs()) == []
    add(store, named("a"))
    with pytest.raises(OtherInputs):
        add(store, run("b"), other)
    assert [each.id for each in store.runs()] == ["a"]


def test_of_a_dedup_key_one_run_is_unfinished(store: Store) -> None:
    """Whatever its inputs; of another workflow it is another key; when it has ended, the next one is a new run."""
    assert add(store, run("a", dedup="k"), run("b", key=2, dedup="k"), run("c", dedup="other")) == (["a", "a", "c"], [])
    assert add(store, run("d", dedup="k"), run("e", workflow="another", dedup="k")) == (["a", "e"], [])
    end(store, "a")
    assert add(store, run("f", dedup="k")) == (["f"], [])


def test_inputs_that_are_run_once_stand_for_one_run(store: Store) -> None:
    """Also when it has ended, which is said; other inputs are another run."""
    assert add(store, run("a", once=True), run("b", once=True), run("c", key=2, once=True)) == (["a", "a", "c"], [])
    assert add(store, run("d", once=True)) == (["a"], [])
    end(store, "a")
    assert add(store, run("e", once=True)) == (["a"], ["a"])
    assert add(store, run("f")) == (["f"], [])
    assert [store.run(id).named for id in ("a", "f")] == [False, True]


def test_keys_take_turns(store: Store) -> None:
    """The runs of a key stand behind each other; those of other keys, and those without, beside the first of them."""
    ids = [run(f"a{n}", queue_key="a") for n in range(3)]
    add(store, *ids, run("b0", queue_key="b"), run("none"), run("none too"))
    add(store, run("a3", queue_key="a"), run("late", priority=9, queue_key="a"))
    assert turns(store, "a0", "a1", "a2", "b0", "none", "none too", "a3", "late") == [1, 2, 3, 1, 1, 1, 4, 1]
    begun(store, "a1")
    add(store, run("c0", queue_key="c"), run("a4", queue_key="a"), run("x"))
    assert turns(store, "c0", "a4", "x") == [3, 5, 3]


def test_what_is_to_begin_later_has_no_turn_yet(store: Store) -> None:
    """It gets one when its time has come, or what holds it has: since when it might have begun is kept then."""
    held, later = run("held", hold=AFTER_OTHERS), run("later", wake=NOW + 5)
    add(store, held, later, run("past", wake=NOW - 5), run("first", queue_key="a"))
    assert [(store.run(id).turn, store.run(id).wake) for id in ("held", "later", "past")] == [
        (None, None),
        (None, NOW + 5),
        (1, None),
    ]

    def begin(id: str, now: float) -> RunRecord:
        found = store.run(id)
        begun: RunRecord = store.journal.write((), lambda connection: queue.let_begin(store, connection, found, now))
        return begun

    for id, now, since in (("later", NOW + 9, NOW + 5), ("held", NOW + 9, NOW + 9)):
        found = begin(id, now)
        assert (found.turn, found.wake, found.hold, found.started) == (1, None, None, since)
        assert store.run(id) == found


def test_a_turn_that_was_changed_from_outside_is_named(store: Store) -> None:
    """Whoever comes next would stand in front of others, or behind all."""
    add(store, run("a"), run("b"))
    begun(store, "a")
    store.journal.write((), lambda connection: connection.execute("UPDATE queue_turn SET turn = 99") and None)
    with pytest.raises(StateCorrupt):
        add(store, run("c"))
    with pytest.raises(StateCorrupt):
        begun(store, "b")


def test_one_is_queued_whose_id_no_other_has(store: Store) -> None:
    """With what it is to be called by, and where it stands."""
    asked = run("a", queue_key="k", priority=3, dedup="d")
    made = store.journal.write((), lambda connection: queue.add_one(store, connection, asked, NOW))
    assert made == store.run("a")
    assert (made.queue, made.priority, made.queue_key, made.dedup, made.turn) == ("mail", 3, "k", "d", 1)
    assert (made.status, made.created, made.started, made.input) == ("queued", NOW, NOW, b"\x90")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("done", "an id stands for one run, and that one is done; its result stands"),
        ("cancelled", "an id stands for one run, and that one is cancelled; it stays cancelled; give"),
        ("failed", "an id stands for one run, and that one is failed; go on with it: perdure resume a"),
        ("parked", "an id stands for one run, and that one is parked; it is a dead letter"),
    ],
)
def test_what_becomes_of_a_run_that_has_ended_is_said(store: Store, status: str, said: str) -> None:
    """With the way on."""
    add(store, named("a"))
    end(store, "a", status)
    assert queue.not_queued(store.run("a")).startswith(f"run a is not enqueued: {said}")
