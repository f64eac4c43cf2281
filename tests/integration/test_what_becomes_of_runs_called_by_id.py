"""What fork, redrive, undoing, cancel, timeout, prune and --accept-changes do to runs that were called by an id."""

from __future__ import annotations

from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.spec import spec_of
from perdure.core.records import RunRecord
from perdure.engines.local.redrive import Redriver
from perdure.errors import DeadlineExceeded, Drift, NotFound
from perdure.operations.location import Location
from perdure.operations.prune import prune
from perdure.operations.show import details_of
from perdure.store import forks

ran: list[str] = []
ends: list[BaseException] = []
ids: list[str] = []
bad: set[int] = set()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing was executed; the next end is a death."""
    ran.clear()
    bad.clear()
    ends[:] = [Died()]
    ids[:] = ["a", "b"]


@step(name="by_id.cancel", retry=None)
def cancel(n: int) -> None:
    ran.append(f"cancel {n}")


@step(name="by_id.book", retry=None, undo=cancel)
def book(n: int) -> int:
    if n in bad:
        raise ValueError(n)
    ran.append(f"book {n}")
    return n


@step(name="by_id.gate", retry=None)
def gate() -> None:
    if ends:
        raise ends.pop()


@workflow(name="by_id.trip")
def trip(n: int) -> int:
    return book(n)


@workflow(name="by_id.trips")
def trips() -> int:
    return len(book.map([1, 2]).results)


@workflow(name="by_id.top", timeout="1h")
def top() -> list[int]:
    found = [trip.with_options(id=id)(n) for n, id in enumerate(ids)]
    book(7)
    gate()
    return found


@workflow(name="by_id.counts")
def counts() -> int:
    found = trips.with_options(id="many")()
    gate()
    return found


def left(machine: Machine, function: Any) -> RunRecord:
    """The run of a caller whose process has died at the gate."""
    with pytest.raises(Died):
        function()
    machine.boot()
    return next(run for run in machine.engine.store.runs() if run.workflow == function._spec.name)


def status(machine: Machine, id: str) -> str:
    return machine.engine.store.run(id).status


@pytest.mark.parametrize("before", [1, 3])
def test_a_fork_executes_no_id_twice(machine: Machine, before: int) -> None:
    """Before its point it has the records, and behind it the same id is the same run, and gives its recorded result."""
    source = left(machine, top)
    store = machine.engine.store
    store.journal.write((), forks.fork(store, source, "fork-1", before, machine.world.now(), child_id))
    machine.boot()
    assert top() == [0, 1]
    assert (ran.count("book 0"), ran.count("book 1")) == (1, 1)
    assert (status(machine, "a"), status(machine, "fork-1")) == ("done", "done")


@pytest.mark.parametrize("how", ["fails", "cancelled", "out of time"])
def test_the_end_of_the_caller_is_its_own(machine: Machine, how: str) -> None:
    """Undone, cancelled or out of time: what runs that it called by an id did stays, and is named."""
    run = left(machine, top)
    if how == "cancelled":
        machine.engine.cancel(run.id, lambda record: None)
    elif how == "fails":
        ends.append(Trouble())
        with pytest.raises(Trouble):
            top()
    else:
        machine.world.time += 7200
        with pytest.raises(DeadlineExceeded):
            top()
    assert [each for each in ran if each.startswith("cancel")] == ["cancel 7"]
    assert (status(machine, "a"), status(machine, "b")) == ("done", "done")
    kept = details_of(machine.engine.store, machine.engine.store.run(run.id)).kept
    assert kept is not None
    assert "a is done" in kept
    assert "b is done" in kept


def test_a_redrive_of_its_letters_is_its_own(machine: Machine) -> None:
    """The caller keeps what it has seen."""
    bad.add(2)
    left(machine, counts)
    bad.clear()
    Redriver(machine.engine, lambda run, record: spec_of(book), lambda result: None).run([1])
    machine.boot()
    assert ran == ["book 1", "book 2"]
    assert counts() == 1
    assert ran == ["book 1", "book 2"]


def test_it_is_kept_as_long_as_its_caller_is_unfinished(machine: Machine) -> None:
    """What has ended long ago is removed then, and not before."""
    left(machine, top)

    def pruned() -> None:
        prune(Location(machine.state, "a test"), "30d", clock=lambda: machine.world.now() + 40 * 86400)

    pruned()
    assert (status(machine, "a"), status(machine, "b")) == ("done", "done")
    assert top() == [0, 1]
    trip.with_options(id="newest")(5)
    pruned()
    with pytest.raises(NotFound):
        status(machine, "a")


def test_accepted_changes_are_new_work_under_the_new_id(machine: Machine) -> None:
    """The records are not held against the script: the run of the id before stays as it is."""
    run = left(machine, top)
    ids[0] = "other"
    with pytest.raises(Drift):
        top()
    machine.boot()
    machine.engine.accept_changes(run)
    assert top() == [0, 1]
    assert (ran.count("book 0"), ran.count("book 1"), ran.count("book 7")) == (2, 1, 1)
    assert (status(machine, "a"), status(machine, "other")) == ("done", "done")
    assert len(perdure.runs(workflow="by_id.trip")) == 3
