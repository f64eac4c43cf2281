"""The limits of a queue hold in the transaction that claims, and whose turn it is follows from what is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from conftest import Machine, Scripts
from perdure import Queue, workflow
from perdure.core.execution.run_effects import Start, Taken
from perdure.core.records import RunRecord
from perdure.engines import declared_queues
from perdure.operations.queues import place_in_queue
from perdure.store import queue_listing, queue_order
from perdure.store.runs import Store


@workflow
def parcel(label: str) -> str:
    """What stands in queues here."""
    return label


@pytest.fixture(autouse=True)
def no_queue_is_left() -> Iterator[None]:
    """Queues are declared for a process."""
    before = dict(declared_queues.queues)
    yield
    declared_queues.queues.clear()
    declared_queues.queues.update(before)


def enqueue(labels: str, **options: object) -> None:
    """One run for each letter; of a capital letter's key, if the options do not say."""
    for label in labels:
        parcel.with_options(**{"key": label.upper(), **options}).enqueue(label)  # type: ignore[arg-type]


def claim(store: Store, now: float, *queues: str, passed: tuple[int, ...] = ()) -> RunRecord | None:
    """Begin the run that is next, and leave it under way, as a worker has it."""
    workflows = {(run.script, run.workflow) for run in store.runs()}

    def operation(connection: object) -> RunRecord | None:
        rid = queue_order.Waiting(store, connection, now, workflows, queues, passed).following()  # type: ignore[arg-type]
        if rid is None:
            return None
        run = store.run_in(connection, rid)  # type: ignore[arg-type]
        start = Start(run.script, run.path, run.workflow, run.key, run.input, fresh="", rid=rid)
        taken = store.begin(start, now)(connection)  # type: ignore[arg-type]
        assert isinstance(taken, Taken)
        assert not taken.resumed
        return run

    found: RunRecord | None = store.journal.write((), operation)
    return found


def claimed(machine: Machine, *queues: str, end: bool = True, most: int = 1_000) -> str:
    """The labels of the runs that may begin, in that order, each over before the next one (`end`), or all under way."""
    store, labels = machine.engine.store, []
    while len(labels) < most and (run := claim(store, machine.world.now(), *queues)) is not None:
        labels.append(parcel._spec.arguments(run.input)[0][0])
        if end:
            finish(store, run)
    return "".join(labels)


def finish(store: Store, run: RunRecord) -> None:
    """The run is done."""
    store.journal.write(
        (), lambda at: store.put_run(at, store.run_in(at, run.rid), status="done", output=b"\xc0", holder=None) and None
    )
    store.let_go(run)


def test_no_key_is_served_twice_before_all_that_wait_were_served_once(machine: Machine) -> None:
    """Keys take turns, however many runs one has put in before; a key that comes back stands behind those that wait."""
    enqueue("aaaa")
    enqueue("bb")
    enqueue("c")
    assert claimed(machine, most=2) == "ab"
    enqueue("d")
    enqueue("b")
    assert claimed(machine) == "cabdaba"


def test_lower_numbers_come_first_and_each_priority_is_fair_by_itself(machine: Machine) -> None:
    """Priority 0 before all others; much traffic there does not put keys of another priority behind."""
    enqueue("aa", priority=7)
    enqueue("xxyxx", priority=0)
    assert claimed(machine, most=5) == "xyxxx"
    enqueue("b", priority=7)
    assert claimed(machine) == "aba"


def test_as_many_at_a_time_as_the_queue_says(machine: Machine) -> None:
    """What has ended makes room; other queues have limits of their own."""
    Queue("mail", concurrency=3)
    enqueue("abcd", queue="mail")
    enqueue("z", queue="other")
    store = machine.engine.store
    assert claimed(machine, "mail", end=False) == "abc"
    waiting = store.runs(status="queued")[-1]
    assert queue_listing.place_of(store, waiting, 0.0)[1:] == (0, "slots", 3)
    assert claimed(machine, end=False) == "z"
    finish(store, store.runs(status="running")[-1])
    assert claimed(machine, "mail", end=False) == "d"


def test_as_many_of_a_key_as_the_queue_says(machine: Machine) -> None:
    """A key that has as many as may be waits, also where slots are free, and keeps no other key waiting."""
    Queue("mail", concurrency=9, per_key=2)
    enqueue("aaaabc", queue="mail")
    store = machine.engine.store
    assert claimed(machine, "mail", end=False) == "abca"
    waiting = store.runs(status="queued")[-1]
    assert queue_listing.place_of(store, waiting, 0.0)[1:] == (0, "key", 2)
    finish(store, store.runs(status="running")[-1])
    assert claimed(machine, "mail", end=False) == "a"


def test_the_runs_of_the_dead_do_not_count(scripts: Scripts, machine: Machine) -> None:
    """Killed with all slots taken, a process leaves none of them taken."""
    Queue("mail", concurrency=1)
    enqueue("ab", queue="mail")
    script = scripts.write(
        """
        import os, signal, sys
        from pathlib import Path
        from perdure.core.execution.run_effects import Start
        from perdure.store import queue_order
        from perdure.store.runs import Store

        store = Store(Path(sys.argv[1]))
        workflows = {(run.script, run.workflow) for run in store.runs()}

        def claim(connection):
            run = store.run_in(connection, queue_order.Waiting(store, connection, 1.0, workflows).following())
            start = Start(run.script, run.path, run.workflow, run.key, run.input, fresh="", rid=run.rid)
            store.begin(start, 1.0)(connection)
            return queue_order.Waiting(store, connection, 1.0, workflows).following()

        print(store.journal.write((), claim), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert scripts.run(script, str(machine.state)).stdout == "None\n", "its only slot was taken"
    assert claimed(machine) == "b"


def test_a_rate_bounds_how_fast_runs_begin(machine: Machine) -> None:
    """Evenly, also after a clock that was set back: never longer than one interval."""
    Queue("mail", rate="2/s")
    enqueue("abcd", queue="mail")
    assert claimed(machine) == "a"
    store = machine.engine.store
    now = machine.world.now()
    assert store.journal.read(lambda at: queue_order.next_moment(store, at, now)) == now + 0.5
    machine.world.time += 0.5
    assert claimed(machine) == "b"
    machine.world.time -= 1_000_000
    assert claimed(machine) == ""
    now = machine.world.now()
    assert store.journal.read(lambda at: queue_order.next_moment(store, at, now)) == now + 0.5


def test_a_long_queue_is_not_counted_through_for_each_of_its_runs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of all that wait would take time with the square of them: behind so many it says that they are more."""
    enqueue("abcde")
    monkeypatch.setattr(queue_listing, "MOST_BEFORE", 3)
    store = machine.engine.store
    lines = [place_in_queue(store, run, machine.world.time).line for run in reversed(store.runs())]
    more = "queue default, behind 3 others or more"
    assert lines == ["queue default, 1st", "queue default, 2nd", "queue default, 3rd", more, more]


def test_a_paused_queue_begins_nothing_and_a_drained_one_has_nothing(machine: Machine) -> None:
    """Paused, also before it was declared, until it is resumed; what waits can be cancelled, and nothing else is."""
    enqueue("abc", queue="mail")
    store = machine.engine.store
    assert queue_listing.set_paused(store, "mail", True)
    Queue("mail", concurrency=5)
    enqueue("d", queue="mail")
    assert claimed(machine) == ""
    assert queue_listing.set_paused(store, "mail", False)
    assert claimed(machine, end=False, most=1) == "a"
    enqueue("e", queue="mail", delay=5)
    counts = queue_listing.all_queues(store)["mail"]
    assert counts[0] is not None
    assert (counts[0].concurrency, counts[1]) == (5, queue_listing.QueueCounts(waiting=3, delayed=1, executing=1))
    assert len(queue_listing.drain(store, "mail", machine.world.now)) == 4
    assert sorted(run.status for run in store.runs()) == ["cancelled"] * 4 + ["running"]


def test_the_last_declaration_counts_and_a_change_is_logged(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """Two scripts that say different things of one queue are seen."""
    Queue("mail", concurrency=5)
    enqueue("a", queue="mail")
    caplog.set_level(logging.WARNING)
    Queue("mail", concurrency=2, rate="10/min")
    enqueue("b", queue="mail")
    assert [record.getMessage() for record in caplog.records] == [
        f"queue 'mail' is now concurrency 2, rate 10 in 1 min, as {__file__} says; it was concurrency 5"
    ]


def test_what_others_have_queued_without_a_turn_gets_one(machine: Machine) -> None:
    """A schedule makes a queued run as a row: it is served when its time has come, in the default queue."""
    enqueue("a")
    store = machine.engine.store
    run = store.runs()[0]
    store.journal.write((), lambda at: store.put_run(at, run, queue=None, priority=None, turn=None, wake=5e9) and None)
    assert claimed(machine) == ""
    machine.world.time = 5e9
    assert claimed(machine) == "a"
