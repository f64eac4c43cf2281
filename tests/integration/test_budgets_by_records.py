"""Calls of a budget that spend nothing are counted by their records: a later life reads what the first one read."""

from __future__ import annotations

import asyncio

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import Breaker, Retry, step, workflow
from perdure.errors import BreakerOpen, BudgetExceeded, EnsureFailed, NotStorable, RepeatLimit

Read = tuple[int, int, float]


def read_of(budget: perdure.budget) -> Read:
    spent = budget.spent
    return spent.calls, spent.tokens, spent.seconds


def test_every_way_to_end_is_read_again(machine: Machine) -> None:
    """Calls that end well, at once or at the second attempt, badly after all, in a child run, in a map."""
    down = [True]
    first_try = [True]

    @step(name="by-record-plain", retry=None)
    def plain(n: int) -> int:
        machine.ran.append(n)
        machine.world.sleep(n)
        return n

    @step(name="by-record-retried", retry=Retry(delay=0))
    def retried(n: int) -> int:
        machine.world.sleep(n)
        if first_try.pop() if first_try else False:
            raise OSError("again")
        return n

    @step(name="by-record-ensured", retry=None, ensure=lambda result: result > 99)
    def ensured(n: int) -> int:
        machine.ran.append(n)
        machine.world.sleep(n)
        return n

    @step(name="by-record-unstorable", retry=None)
    def unstorable(n: int) -> object:
        machine.ran.append(n)
        machine.world.sleep(n)
        return object()

    @step(name="by-record-last", retry=None)
    def last() -> None:
        if down[0]:
            raise Trouble

    @step(name="by-record-guarded", retry=None, breaker=Breaker("by-record", failures=1, cooldown="1h"))
    def guarded(n: int) -> int:
        raise OSError("down")

    @step(name="by-record-repeated", max_repeats=1)
    def repeated() -> int:
        return 1

    @workflow(name="by-record-child")
    def child(n: int) -> int:
        with perdure.budget(calls=9):
            return plain(n)

    seen: list[list[Read]] = []

    @workflow(name="by-record-flow")
    def wf() -> None:
        reads: list[Read] = []
        seen.append(reads)
        with perdure.budget(calls=100) as outer:
            plain(1)
            reads.append(read_of(outer))
            with perdure.budget(tokens=100) as inner:
                retried(2)
                with pytest.raises(EnsureFailed):
                    ensured(3)
                with pytest.raises(NotStorable):
                    unstorable(4)
                reads += [read_of(outer), read_of(inner)]
                with pytest.raises(OSError, match="down"):
                    guarded(1)
                with pytest.raises(BreakerOpen):
                    guarded(2)
                repeated()
                with pytest.raises(RepeatLimit):
                    repeated()
                with perdure.budget(calls=1) as small:
                    plain(0)
                    with pytest.raises(BudgetExceeded):
                        plain(9)
                    with pytest.raises(BudgetExceeded):
                        child(9)
                reads += [read_of(outer), read_of(inner), read_of(small)]
                child(5)
                plain.map([6, 7, 8], concurrency=1)
                reads += [read_of(outer), read_of(inner)]
        last()

    with pytest.raises(Trouble):
        wf()
    ran = list(machine.ran)
    machine.boot()
    down[0] = False
    wf()
    assert machine.ran == ran
    assert seen[0] == seen[1]
    assert seen[0][-2:] == [(11, 0, 38.0), (10, 0, 37.0)]


@pytest.mark.parametrize("in_child", [False, True])
def test_a_call_that_is_refused_for_what_it_has_spent(machine: Machine, in_child: bool) -> None:
    """A death cuts it, and nothing is left for it: that is seen in the life that refuses it, and in later ones."""
    reads: list[tuple[float, float | None, int]] = []
    deaths = ["ask", "after"]

    @step(name="by-record-ask", retry=None)
    def ask(n: int) -> int:
        perdure.spend(usd=1)
        if n == 1 and deaths[0] == "ask":
            raise Died
        return n

    @step(name="by-record-after", retry=None)
    def after() -> None:
        if deaths.pop(0) == "after":
            raise Died

    @workflow(name="by-record-asks")
    def asks(n: int) -> int:
        return ask(n)

    @workflow(name="by-record-refused")
    def wf() -> None:
        with perdure.budget(usd=5) as outer, perdure.budget(usd=2) as inner:
            try:
                for n in range(5):
                    (asks if in_child else ask)(n)
            except BudgetExceeded:
                reads.append((inner.spent.usd, inner.left.usd, inner.spent.calls))
                reads.append((outer.spent.usd, outer.left.usd, outer.spent.calls))
        after()

    with pytest.raises(Died):
        wf()
    deaths.remove("ask")
    machine.boot()
    with pytest.raises(Died):
        wf()
    machine.boot()
    deaths.append("")
    wf()
    assert reads == [(2, 0, 2), (2, 3, 2)] * 2


def test_what_was_undone_stays_spent(machine: Machine) -> None:
    """Its record is taken back, the time that it took is not."""
    down = [True]

    @step(name="by-record-revert", retry=None)
    def revert(result: int) -> None:
        return None

    @step(name="by-record-undone", retry=None, undo=revert)
    def work(n: int) -> int:
        machine.ran.append(n)
        machine.world.sleep(n)
        return n

    @step(name="by-record-broken", retry=None)
    def broken() -> None:
        if down[0]:
            raise Trouble

    @workflow(name="by-record-undone-flow")
    def wf() -> None:
        with perdure.budget(seconds=18):
            work(10)
            broken()

    with pytest.raises(Trouble):
        wf()
    machine.boot()
    down[0] = False
    with pytest.raises(BudgetExceeded, match="20 s of 18 s"):
        wf()
    assert machine.ran == [10, 10]


def test_calls_that_spend_nothing_have_no_row(machine: Machine) -> None:
    """Neither in sync nor in async workflows, and the bound stops the same call in a later life."""

    @step(name="by-record-free", retry=None)
    async def free(n: int) -> int:
        machine.ran.append(n)
        return n

    @workflow(name="by-record-async")
    async def wf() -> int:
        async with perdure.budget(calls=3):
            for n in range(9):
                await free(n)
        return 0

    for _ in range(2):
        with pytest.raises(BudgetExceeded, match="3 of 3 calls"):
            asyncio.run(wf())
        assert machine.engine.store.spent_by_calls(1) == {}
        machine.boot()
    assert machine.ran == [0, 1, 2]
