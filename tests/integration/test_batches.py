"""map: every item has a checkpoint of its own, what fails for good is parked, the rest goes on."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import Batch, Retry, step, workflow
from perdure.errors import Drift, HasDeadLetters, OptionError

KINDS = ["one by one", "threads", "tasks"]


def squares(machine: Machine, kind: str, fails: set[int], dies: set[int], source: Any = None, **options: Any) -> Any:
    """A workflow that maps a step over items (or `source`). Those in `fails` fail, those in `dies` kill the process."""
    concurrency = 1 if kind == "one by one" else 4

    def work(n: int) -> int:
        machine.ran.append(n)
        if n in dies:
            raise Died
        if n in fails:
            raise Trouble(f"poison {n}")
        return n * n

    if kind == "tasks":

        async def awork(n: int) -> int:
            await asyncio.sleep(0)
            return work(n)

        mapped = step(awork, name="work", retry=Retry(attempts=2, jitter=0))

        @workflow(name="wf")
        async def wf(items: Any) -> Any:
            batch = await mapped.map(source or items, concurrency=concurrency, **options)
            return [list(batch.results), [letter.input for letter in batch.dead], batch.skipped]

        return lambda items: asyncio.run(wf(items))

    smapped = step(work, retry=Retry(attempts=2, jitter=0))

    @workflow(name="wf")
    def swf(items: Any) -> Any:
        batch = smapped.map(source or items, concurrency=concurrency, **options)
        return [list(batch.results), [letter.input for letter in batch.dead], batch.skipped]

    return swf


@pytest.mark.parametrize("kind", KINDS)
def test_results_in_input_order(machine: Machine, kind: str) -> None:
    """Whatever order they finish in; duplicates are items of their own."""
    wf = squares(machine, kind, set(), set())
    assert wf([3, 1, 2, 3, 0]) == [[9, 1, 4, 9, 0], [], 0]
    assert sorted(machine.ran) == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_is_parked_and_the_rest_goes_on(machine: Machine, kind: str) -> None:
    """Dead letters are in input order, and stay dead when the run is resumed."""
    dies = {9}
    wf = squares(machine, kind, {1, 3}, dies)
    items = [0, 1, 2, 3, 4, 5, 6, 9]
    with pytest.raises(Died):
        wf(items)
    kept = set(machine.steps())
    assert kept <= {("work", "done"), ("work", "dead")}
    saved = len(machine.steps())
    dies.clear()
    machine.boot()
    machine.ran.clear()
    results, dead, skipped = wf(items)
    assert results == [0, 4, 16, 25, 36, 81]
    assert dead == ["(1)", "(3)"]
    assert skipped == saved
    assert len(set(machine.ran)) == len(items) - saved


@pytest.mark.parametrize("kind", KINDS)
def test_raise_stops_the_batch(machine: Machine, kind: str) -> None:
    """on_failure="raise": the item's own error; what was done before is kept, and it is tried again by the next run."""
    fails = {2}
    wf = squares(machine, kind, fails, set(), on_failure="raise")
    with pytest.raises(Trouble, match="poison 2"):
        wf(range(8))
    assert 2 < len(set(machine.ran)) <= 8
    done = len(machine.steps())
    fails.clear()
    machine.ran.clear()
    assert wf(range(8))[0] == [n * n for n in range(8)]
    assert len(machine.ran) == 8 - done


def test_dead_letters_say_what_happened(machine: Machine) -> None:
    """Step, input, last error, and every attempt."""

    @step(retry=Retry(attempts=3, jitter=0))
    def work(order: dict[str, int]) -> None:
        raise ValueError(f"attempt {perdure.attempt()} at {order['id']}")

    batches: list[Batch[None]] = []

    @workflow
    def wf() -> None:
        batch = work.map([{"id": 7}])
        batches.append(batch)
        assert not batch.ok
        batch.raise_if_dead()

    with pytest.raises(HasDeadLetters, match=r"1 of 1 items failed for good\s+work\(\{'id': 7\}\): ValueError"):
        wf()
    (letter,) = batches[0].dead
    assert letter.step == "work"
    assert letter.input == "({'id': 7})"
    assert letter.error == "ValueError: attempt 3 at 7"
    assert letter.attempts == [f"ValueError: attempt {n} at 7" for n in (1, 2, 3)]


@pytest.mark.parametrize("kind", KINDS)
def test_items_are_matched_by_content_not_by_place(machine: Machine, kind: str) -> None:
    """Resumed in another order, every item finds its own result, and none is done again."""
    dies, items = {9}, [0, 1, 2, 3, 4, 9]
    wf = squares(machine, kind, set(), dies, source=items)
    with pytest.raises(Died):
        wf(None)
    done = len(machine.steps())
    dies.clear()
    machine.ran.clear()
    items.reverse()
    assert wf(None)[0] == [81, 16, 9, 4, 1, 0]
    assert len(machine.ran) == 6 - done


def test_a_key_identifies_items(machine: Machine) -> None:
    """With key=, an item may hold what cannot be stored; the same key with other content is drift."""
    trouble = [True]

    class Order:
        def __init__(self, id: int) -> None:
            self.id = id

    @step
    def work(order: Order) -> int:
        machine.ran.append(order.id)
        return order.id

    @step(retry=None)
    def end() -> None:
        if trouble[0]:
            raise Trouble

    @workflow
    def wf() -> list[int]:
        batch = work.map([Order(1), Order(2)], key=lambda order: order.id)
        end()
        return list(batch.results)

    with pytest.raises(Trouble):
        wf()
    trouble[0] = False
    assert wf() == [1, 2]
    assert machine.ran == [1, 2]


def test_a_changed_item_under_its_key_is_drift(machine: Machine) -> None:
    """The key says it is the same item; its content says otherwise."""
    amount = [10]

    @step
    def work(order: dict[str, int]) -> None: ...

    @step(retry=None)
    def end() -> None:
        raise Trouble

    @workflow
    def wf() -> None:
        work.map([{"id": 1, "amount": amount[0]}], key=lambda order: order["id"])
        end()

    with pytest.raises(Trouble):
        wf()
    amount[0] = 20
    with pytest.raises(Drift, match=r"'amount': 10[\s\S]*'amount': 20"):
        wf()


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_list_is_drift_before_anything_is_executed(machine: Machine, kind: str) -> None:
    """Items that were done are gone, and a new one is there: nothing runs."""
    dies, items = {9}, [1, 2, 3, 4, 9]
    wf = squares(machine, kind, set(), dies, source=items)
    with pytest.raises(Died):
        wf(None)
    assert machine.steps()
    dies.clear()
    machine.ran.clear()
    items[:] = [9, 77]
    with pytest.raises(Drift):
        wf(None)
    assert machine.ran == []


def test_generators_may_call_steps(machine: Machine) -> None:
    """Items are drawn on the workflow's own thread, as they are needed; pages are steps themselves."""
    dies = [True]

    @step
    def page(n: int) -> list[int]:
        machine.ran.append(f"page {n}")
        return [n * 10 + k for k in range(3)]

    @step
    def work(n: int) -> int:
        if n == 20 and dies[0]:
            raise Died
        machine.ran.append(n)
        return n

    def pages() -> Iterator[int]:
        for n in range(3):
            yield from page(n)

    @workflow
    def wf() -> list[int]:
        return list(work.map(pages()).results)

    with pytest.raises(Died):
        wf()
    dies[0] = False
    machine.boot()
    assert wf() == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert len(machine.ran) == len(set(machine.ran)) == 12


def test_async_iterables(machine: Machine) -> None:
    """An async step maps over an async generator, which may await steps."""

    @step
    async def page(n: int) -> list[int]:
        return [n * 10 + k for k in range(3)]

    @step
    async def work(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    async def pages() -> AsyncIterator[int]:
        for n in range(3):
            for item in await page(n):
                yield item

    @workflow
    async def wf() -> list[int]:
        batch = await work.map(pages(), concurrency=2)
        return list(batch.results)

    assert asyncio.run(wf()) == [1, 2, 3, 11, 12, 13, 21, 22, 23]


def test_never_more_than_asked_for_at_a_time(machine: Machine) -> None:
    """`concurrency` bounds how many items run side by side."""
    running, most = [0], [0]

    @step
    async def work(n: int) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0)
        running[0] -= 1

    @workflow
    async def wf() -> None:
        await work.map(range(50), concurrency=7)

    asyncio.run(wf())
    assert most[0] == 7


def test_a_hundred_thousand_items_in_bounded_memory(machine: Machine) -> None:
    """Memory per item is a few dozen bytes, whatever the items and results are."""

    @step(timeout=None)
    async def work(n: int) -> str:
        return "x" * 100

    @workflow
    async def wf() -> int:
        batch = await work.map((n for n in range(100_000)), concurrency=1000)
        return len(batch.results)

    tracemalloc.start()
    try:
        assert asyncio.run(wf()) == 100_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"concurrency": True}, {"concurrency": 1.5}, {"on_failure": "ignore"}]
)
def test_options_are_checked(machine: Machine, options: dict[str, Any]) -> None:
    """Before anything runs."""
    work = step(lambda n: n, name="work")

    @workflow
    def bad() -> None:
        work.map([1], **options)

    with pytest.raises(OptionError):
        bad()
