"""How many runs of a queue begin: by its limits, its rate, its order, and not at all while it is paused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_claims import NOW, RUN, SERVED

from perdure.store import claims, queue_listing, queue_order
from perdure.store.queue import AFTER_OTHERS, QueueRow
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


def stands(store: Store, id: str, now: float = NOW) -> tuple[int, str, int | None]:
    place = queue_listing.place_of(store, store.run(id), now)
    assert place.queue == "mail"
    return place[1:]


def test_why_a_run_has_not_begun(store: Store) -> None:
    """What keeps it from beginning, if not those before it; a limit is named with the reason."""
    add(store, "a1", "a2", queue_key="a", priority=5, turn=1)
    add(store, "b1", queue_key="b", priority=5, turn=2)
    add(store, "late", priority=5, wake=NOW + 9)
    add(store, "held", hold="edited")
    add(store, "after", hold=AFTER_OTHERS)
    found = [stands(store, id) for id in ("a1", "held", "after")]
    assert found == [(0, "", None), (0, "hold", None), (0, "after", None)]
    assert stands(store, "late") == (0, "time", None)
    assert stands(store, "late", NOW + 9) == (3, "", None)
    queue_listing.set_paused(store, "mail", True)
    assert stands(store, "b1") == (2, "paused", None)
    assert stands(store, "late") == (0, "time", None)
    queue_listing.set_paused(store, "mail", False)
    declare(store, per_key=1)
    assert begins(store, most=1) == ["a1"]
    assert stands(store, "a2") == (0, "key", 1)
    assert stands(store, "b1") == (1, "", None)
    declare(store, per_key=1, concurrency=1)
    assert stands(store, "a2") == (0, "slots", 1)
    declare(store, rate=1, seconds=60.0)
    assert stands(store, "b1") == (1, "", None)
    assert begins(store, most=1) == ["a2"]
    assert stands(store, "b1") == (0, "rate", None)
    assert stands(store, "b1", NOW + 60) == (0, "", None)


def test_what_is_in_each_queue(store: Store) -> None:
    """By name: what waits, what has its time to come, what is executed; a queue without a row is seen by its runs."""
    declare(store, concurrency=1)
    add(store, "a", "b", "c", priority=5, turn=1)
    add(store, "later", wake=NOW + 1e9)
    begins(store, most=1)
    add(store, "elsewhere", queue="archive", priority=5, turn=1)
    found = queue_listing.all_queues(store)
    assert list(found) == ["archive", "mail"]
    assert found["archive"][0] is None
    assert msgspec.structs.astuple(found["archive"][1]) == (1, 0, 0, False)
    row, counts = found["mail"]
    assert row is not None
    assert (row.concurrency, msgspec.structs.astuple(counts)) == (1, (2, 1, 1, False))


def test_whether_a_run_that_waited_may_go_on(store: Store) -> None:
    """Not if that makes one too many of its queue or of its key; a pause and the rate are for runs that begin."""

    def goes_on(**of: Any) -> bool:
        run = msgspec.structs.replace(RUN, **{"queue": "mail", **of})
        found: bool = store.journal.read(lambda connection: queue_order.has_slot(store, connection, run))
        return found

    assert goes_on()
    declare(store, rate=1, seconds=60.0)
    queue_listing.set_paused(store, "mail", True)
    assert goes_on(queue_key="a")
    queue_listing.set_paused(store, "mail", False)
    declare(store, per_key=1)
    add(store, "a", queue_key="a")
    assert goes_on(queue_key="a")
    assert begins(store) == ["a"]
    assert [goes_on(queue_key=key) for key in ("a", "b", None)] == [False, True, True]
    declare(store, concurrency=2)
    assert goes_on(queue_key="a")
    declare(store, concurrency=1)
    assert not goes_on()
    assert goes_on(queue="other")
    assert goes_on(queue=None)
    ends(store, "a")
    assert goes_on()


def test_of_several_queues_those_whose_limits_change_are_written(store: Store) -> None:
    """Each with what it was before; one that is paused stays so, and one that was only paused is declared now."""
    queue_listing.set_paused(store, "later", True)
    declare(store, concurrency=2)
    queue_listing.set_paused(store, "mail", True)
    rows = [QueueRow("mail", concurrency=2), QueueRow("later", rate=3, seconds=60.0), QueueRow("new")]
    changed = {now.name: (before, now) for before, now in queue_listing.declare(store, rows, NOW + 1)}
    assert changed.keys() == {"later", "new"}
    assert changed["new"][0] is None
    before, now = changed["later"]
    assert before is not None
    assert (before.declared, before.paused, now.paused, now.rate) == (0, 1, 1, 3)
    assert queue_listing.declare(store, rows, NOW + 2) == []
