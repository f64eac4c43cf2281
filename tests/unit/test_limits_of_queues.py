"""How many runs of a queue begin: by its limits, its rate, its order, and not at all while it is paused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_claims import NOW, RUN, SERVED

from perdure.store import claims, queue_listing
from perdure.store.queue import QueueRow
from perdure.store.runs import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


def add(store: Store, *ids: str, **changed: Any) -> None:
    for id in ids:
        run = msgspec.structs.replace(RUN, id=id, **{"status": "queued", "queue": "mail", "wake": NOW - 1, **changed})
        store.journal.write((), lambda connection, run=run: store.insert_run(connection, run) and None)  # type: ignore[misc]


def begins(store: Store, now: float = NOW, most: int = 10) -> list[str]:
    return [taken.run.id for taken in claims.claim(store, SERVED, most, now)]


def ends(store: Store, id: str) -> None:
    run = store.run(id)
    store.journal.write(
        (),
        lambda connection: (
            store.put_run(connection, run, status="done", output=b"\xc0", ended=NOW, holder=None) and None
        ),
    )


def declare(store: Store, **limits: Any) -> list[Any]:
    return queue_listing.declare(store, [QueueRow("mail", **limits)], NOW)


def test_so_many_at_a_time(store: Store) -> None:
    """The next begins when one has ended; of other queues as many as there are."""
    declare(store, concurrency=2)
    add(store, "a", "b", "c")
    add(store, "other", queue="other")
    assert begins(store) == ["a", "b", "other"]
    assert begins(store) == []
    ends(store, "a")
    assert begins(store) == ["c"]


def test_so_many_of_a_key(store: Store) -> None:
    """Those of other keys, and those without, go past."""
    declare(store, per_key=1)
    add(store, "a1", "a2", queue_key="a")
    add(store, "b1", queue_key="b")
    add(store, "none1", "none2")
    assert sorted(begins(store)) == ["a1", "b1", "none1", "none2"]
    ends(store, "b1")
    assert begins(store) == []
    ends(store, "a1")
    assert begins(store) == ["a2"]


def test_so_many_in_a_time(store: Store) -> None:
    """One each 30 s, from when it might have begun on; a clock that is set back waits no longer than that."""
    declare(store, rate=2, seconds=60.0)
    add(store, "a", "b", "c", "d")
    assert begins(store) == ["a"]
    assert claims.next_moment(store, NOW + 10) == NOW + 30
    assert begins(store, NOW + 29) == []
    assert begins(store, NOW + 30) == ["b"]
    assert begins(store, NOW + 59) == []
    assert begins(store, NOW + 1000) == ["c"]
    assert begins(store, NOW - 1000) == []
    assert begins(store, NOW + 1030) == ["d"]
    assert claims.next_moment(store, NOW + 1031) is None


def test_a_paused_queue_begins_nothing(store: Store) -> None:
    """Until it goes on; pausing what is paused changes nothing, and a declaration leaves it paused."""
    add(store, "a")
    assert queue_listing.set_paused(store, "mail", True)
    assert not queue_listing.set_paused(store, "mail", True)
    declare(store, concurrency=1)
    assert begins(store) == []
    assert queue_listing.set_paused(store, "mail", False)
    assert begins(store) == ["a"]


def test_limits_are_written_when_they_change(store: Store) -> None:
    """With what they were before."""
    ((before, now),) = declare(store, concurrency=2)
    assert (before, now.concurrency) == (None, 2)
    assert declare(store, concurrency=2) == []
    ((before, now),) = declare(store, concurrency=2, rate=1, seconds=1.0)
    assert (before.concurrency, before.rate, now.rate) == (2, None, 1)


def test_the_order_of_a_queue(store: Store) -> None:
    """By priority, the lower number first; keys take turns: one with many runs does not keep the others waiting."""
    add(store, "a1", "a2", "a3", queue_key="a", turn=None)
    add(store, "b1", queue_key="b")
    add(store, "late", priority=9)
    add(store, "first", priority=1)
    assert begins(store, most=3) == ["first", "a1", "b1"]
    assert begins(store) == ["a2", "a3", "late"]


def test_what_waits_in_a_queue_is_cancelled_by_draining_it(store: Store) -> None:
    """What has begun goes on, and so do other queues."""
    declare(store, concurrency=1)
    add(store, "a", "b", "c")
    add(store, "other", queue="other")
    begins(store, most=1)
    assert len(queue_listing.drain(store, "mail", lambda: NOW + 5)) == 2
    assert [(store.run(id).status, store.run(id).ended) for id in ("b", "c")] == [("cancelled", NOW + 5)] * 2
    assert store.run("a").status == "running"
    assert begins(store) == ["other"]
