"""A workflow calls another one under an id: a run of its own, which the caller's records name before it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.errors import Drift, RunError, Suspended

ran: list[object] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing has been executed yet."""
    ran.clear()


@step(retry=None)
def charge(n: int) -> int:
    ran.append(n)
    if n < 0:
        raise ValueError(f"no {n}")
    return n


@workflow
def pay(n: int) -> int:
    return charge(n)


@workflow
async def apay(n: int) -> int:
    await asyncio.sleep(0)
    return charge(n)


Call = Callable[[], Any]


def plain() -> Any:
    return pay(1)


def called_a() -> Any:
    return pay.with_options(id="a")(1)


def called_b() -> Any:
    return pay.with_options(id="b")(1)


def enqueued() -> Any:
    return pay.enqueue(1).id


def enqueued_a() -> Any:
    return pay.with_options(id="a").enqueue(1).id


def enqueued_b() -> Any:
    return pay.with_options(id="b").enqueue(1).id


def parent_of(calls: list[Call]) -> Any:
    """A workflow that makes the call that stands first, and dies in its first life."""
    lives = []

    @workflow(name="top")
    def top() -> Any:
        result = calls[0]()
        if not lives:
            lives.append(1)
            raise Died
        return result

    return top


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (called_a, called_b),
        (called_a, plain),
        (plain, called_a),
        (enqueued_a, enqueued_b),
        (enqueued_a, enqueued),
        (enqueued, enqueued_a),
        (enqueued_a, called_b),
        (called_a, enqueued),
        (enqueued, plain),
    ],
)
def test_an_id_that_an_edit_changes_is_drift(machine: Machine, before: Call, after: Call) -> None:
    """Given, changed or taken away, in a call and in a queue: nothing is executed, and the script as it was goes on."""
    calls = [before]
    top = parent_of(calls)
    with pytest.raises(Died):
        top()
    done, runs = list(ran), len(perdure.runs())
    calls[0] = after
    for _ in range(2):
        machine.boot()
        with pytest.raises(Drift, match="workflow 'pay' was"):
            top()
    assert (ran, len(perdure.runs())) == (done, runs)
    machine.boot()
    calls[0] = before
    assert top() in (1, "a", perdure.runs(workflow="pay")[0].id if perdure.runs(workflow="pay") else 1)
    assert ran == done


@pytest.mark.parametrize(("before", "after"), [(called_a, enqueued_a), (enqueued_a, called_a)])
def test_the_same_id_is_the_same_run(machine: Machine, before: Call, after: Call) -> None:
    """Called or enqueued, exactly one run has it: that is no drift, and executes nothing again."""
    calls = [before]
    top = parent_of(calls)
    with pytest.raises(Died):
        top()
    machine.boot()
    calls[0] = after
    assert top() in (1, "a")
    assert len(ran) <= 1


def test_what_became_of_it_is_a_record(machine: Machine) -> None:
    """Result and failure come back from the caller's own records, also when the run itself has been removed since."""

    def both() -> Any:
        try:
            called = pay.with_options(id="bad")(-1)
        except ValueError as error:
            called = str(error)
        return called, pay.with_options(id="good")(2)

    top = parent_of([both])
    with pytest.raises(Died):
        top()
    assert ran == [-1, 2]
    machine.boot()
    assert top() == ("no -1", 2)
    assert ran == [-1, 2]


def test_a_failure_that_ends_the_caller_is_no_history(machine: Machine) -> None:
    """The caller run again goes on with the run that has failed."""
    broken = [True]

    @workflow(name="part")
    def part() -> int:
        charge(1)
        if broken:
            raise ValueError("broken")
        return 1

    @workflow(name="top")
    def top() -> int:
        return part.with_options(id="part")()

    with pytest.raises(ValueError, match="broken"):
        top()
    machine.boot()
    broken.clear()
    assert top() == 1
    assert ran == [1]
    assert [status for _, status in machine.runs()] == ["done", "done"]


def test_a_caller_of_a_parked_run_says_what_tries_that_again(machine: Machine) -> None:
    """No fork and no other id is needed: it is gone on with, and then the caller is."""

    @step(name="fails", retry=None)
    def part() -> None:
        raise Trouble

    inner = workflow(lambda: part(), name="inner", park_after=1)
    outer = workflow(lambda: inner.with_options(id="parked")(), name="outer")
    with pytest.raises(Trouble):
        outer()
    with pytest.raises(RunError, match="run parked has failed too often and is parked") as refused:
        outer()
    assert "perdure resume parked" in refused.value.hint


def test_an_async_workflow_calls_several(machine: Machine) -> None:
    """At the same time, twice with the same inputs: each has its own record, whichever came first."""
    lives = []

    @workflow(name="top")
    async def top() -> list[int]:
        found = await asyncio.gather(
            apay.with_options(id="x")(1), apay.with_options(id="y")(1), apay.with_options(id="z")(2)
        )
        if not lives:
            lives.append(1)
            raise Died
        return found

    with pytest.raises(Died):
        asyncio.run(top())
    machine.boot()
    assert asyncio.run(top()) == [1, 1, 2]
    assert ran == [1, 1, 2]


def test_both_are_suspended_and_go_on(machine: Machine) -> None:
    """The caller waits for the run without a process, and executes it when its time has come."""

    @workflow(name="naps")
    def naps(n: int) -> int:
        charge(n)
        perdure.sleep("2h")
        return charge(n + 1)

    @workflow(name="top")
    def top() -> int:
        return naps.with_options(id="nap")(1)

    for _ in range(2):
        with pytest.raises(Suspended):
            top()
        machine.boot()
    assert machine.runs() == [("top", "suspended"), ("naps", "suspended")]
    machine.world.time += 7200
    assert top() == 2
    assert ran == [1, 2]


def test_one_that_calls_its_caller_does_not_wait_for_itself(machine: Machine) -> None:
    """It is told that the run is executed already."""

    @workflow(name="loops")
    def loops(n: int) -> int:
        return loops.with_options(id="loop")(n)

    with pytest.raises(perdure.errors.AlreadyRunning):
        loops.with_options(id="loop")(1)


def test_a_run_of_before_has_no_such_record(machine: Machine) -> None:
    """Its finished run is found by the id, as then, and is not executed again."""
    lives = []

    @workflow(name="top")
    def top() -> list[int]:
        found = [charge(0), called_a(), charge(5)]
        if not lives:
            lives.append(1)
            raise Died
        return found

    with pytest.raises(Died):
        top()
    store = machine.engine.store
    (rid,) = [run.rid for run in store.runs() if run.workflow == "top"]
    store.journal.write(
        (),
        lambda connection: connection.execute("DELETE FROM step WHERE run = ? AND kind = 'builtin'", (rid,)).fetchall(),
    )
    machine.boot()
    assert top() == [0, 1, 5]
    assert ran == [0, 1, 5]
