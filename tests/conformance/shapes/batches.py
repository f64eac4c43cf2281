"""Batches: order, keys, dead letters."""

from __future__ import annotations

import threading
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import add, shape

import perdure
from perdure import Retry, step, workflow
from perdure.core.durations import seconds
from perdure.errors import HasDeadLetters


@step(retry=None)
def square(n: int) -> int:
    note("square", n)
    if n < 0:
        raise ValueError(f"{n} is negative")
    return n * n


@shape
def a_map_one_by_one(bench: Bench) -> None:
    @workflow
    def mapped(n: int) -> list[int]:
        return list(square.map(range(n)).results)

    assert bench.run(mapped, 5) == [0, 1, 4, 9, 16]
    assert steps() == [("square", n) for n in range(5)]


@shape
def a_map_side_by_side(bench: Bench) -> None:
    @workflow
    def crowd(n: int) -> list[int]:
        return list(square.map(range(n), concurrency=4).results)

    assert bench.run(crowd, 20) == [n * n for n in range(20)]
    ledger.sort()


@shape
def dead_letters(bench: Bench) -> None:
    @workflow
    def parked() -> list[Any]:
        batch = square.map([1, -2, 3, -4])
        try:
            batch.raise_if_dead()
        except HasDeadLetters as dead:
            told = dead.what.partition("\n")[0]
        letters = [(letter.step, letter.input, letter.error, letter.attempts) for letter in batch.dead]
        return [list(batch.results), letters, batch.ok, batch.skipped, told]

    results, letters, ok, skipped, told = bench.run(parked)
    assert (results, ok, skipped) == ([1, 9], False, 0)
    assert letters[0] == ("square", "(-2)", "ValueError: -2 is negative", ["ValueError: -2 is negative"])
    assert told == "2 of 4 items failed for good"


@shape
def dead_letters_after_retries(bench: Bench) -> None:
    @step(retry=Retry(attempts=2, delay="10ms", jitter=0))
    def unlucky(n: int) -> int:
        note("unlucky", n)
        if n == 13:
            raise ConnectionError(f"attempt {perdure.attempt()}")
        return n

    @workflow
    def unlucky_map() -> list[Any]:
        batch = unlucky.map([12, 14, 13])
        return [list(batch.results), [letter.attempts for letter in batch.dead]]

    expected = [[12, 14], [["ConnectionError: attempt 1", "ConnectionError: attempt 2"]]]
    assert bench.run(unlucky_map) == expected
    assert [entry[-1] for entry in ledger] == [1, 1, 1, 2]


@shape
def a_map_with_keys_and_duplicates(bench: Bench) -> None:
    @workflow
    def keyed() -> list[int]:
        return [*square.map([2, 2, 3]).results, *square.map([4, 5], key=lambda n: f"item {n}").results]

    assert bench.run(keyed) == [4, 4, 9, 16, 25]


@shape
def a_map_that_raises_and_is_resumed(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def item(n: int) -> int:
        note("item", n)
        if n == 2 and broken[0]:
            raise ConnectionError("item 2")
        return n

    @workflow
    def strict() -> list[int]:
        batch = item.map(range(4), on_failure="raise")
        return [*batch.results, batch.skipped]

    assert isinstance(bench.run(strict), ConnectionError)
    assert steps() == [("item", 0), ("item", 1), ("item", 2)]
    broken[0] = False
    assert bench.run(strict) == [0, 1, 2, 3, 2]
    assert steps()[3:] == [("item", 2), ("item", 3)]


@shape
def a_map_of_async_steps(bench: Bench) -> None:
    @step(retry=None)
    async def asquare(n: int) -> int:
        note("asquare", n)
        if n == 3:
            raise ValueError("three")
        return n * n

    @workflow
    async def amapped() -> list[Any]:
        batch = await asquare.map(range(6), concurrency=3)
        return [list(batch.results), [letter.error for letter in batch.dead]]

    assert bench.run(amapped) == [[0, 1, 4, 16, 25], ["ValueError: three"]]
    ledger.sort()


@shape
def items_that_come_from_steps(bench: Bench) -> None:
    @workflow
    def drawn() -> list[int]:
        return list(square.map(add(n) for n in range(3)).results)

    assert bench.run(drawn) == [1, 4, 9]
    assert steps() == [e for n in range(3) for e in (("add", n, 1), ("square", n + 1))]


@shape
def a_map_over_nothing(bench: Bench) -> None:
    @workflow
    def nothing() -> list[Any]:
        batch = square.map([])
        return [list(batch.results), batch.ok]

    assert bench.run(nothing) == [[], True]


@shape
def items_that_run_out_of_time(bench: Bench) -> None:
    def timed(timeout: str) -> Any:
        @step(retry=None, timeout=timeout)
        def dawdle(n: int) -> int:
            note("dawdle", n)
            if n == 1:
                threading.Event().wait(3 * seconds(timeout, option="timeout"))
            return n

        @workflow
        def timed_map(timeout: str) -> list[Any]:
            batch = dawdle.map(range(4), concurrency=2)
            return [list(batch.results), [letter.error.partition(" [")[0] for letter in batch.dead]]

        return timed_map

    # On a busy machine the others may be late, too: then they are given more time.
    for timeout, shown in {"200ms": "200 ms", "2s": "2 s", "10s": "10 s", "30s": "30 s"}.items():
        ledger.clear()
        results, dead = bench.run(timed(timeout), timeout)
        told = [f"StepTimeout: step 'dawdle' did not finish within {shown}"]
        if results == [0, 2, 3]:
            break
    assert (results, dead) == ([0, 2, 3], told)
    bench.outcomes.clear()
    ledger.sort()


@step(retry=None)
def strict(n: int) -> int:
    note("strict", n)
    return None + n if n % 3 else n  # type: ignore[operator]


@shape
def a_map_whose_first_items_are_poison(bench: Bench) -> None:
    @workflow
    def sorted_data(concurrency: int) -> list[Any]:
        batch = strict.map(sorted(range(36), key=lambda n: n % 3, reverse=True), concurrency=concurrency)
        return [list(batch.results), len(batch.dead)]

    assert bench.run(sorted_data, 1) == [list(range(0, 36, 3)), 24]
    assert len(steps()) == 36
    assert bench.run(sorted_data, 4) == [list(range(0, 36, 3)), 24]
    assert len(steps()) == 72
    ledger.sort()


@shape
def a_map_in_which_no_item_can_succeed(bench: Bench) -> None:
    @workflow
    def hopeless(items: list[int]) -> int:
        return len(strict.map(items).dead)

    assert isinstance(bench.run(hopeless, [n for n in range(1_000) if n % 3]), TypeError)
    assert len(steps()) == 20


@shape
def an_async_map_in_which_no_item_can_succeed(bench: Bench) -> None:
    @step(retry=None)
    async def astrict(n: int) -> int:
        note("astrict", n)
        return None + n  # type: ignore[operator]

    @workflow
    async def ahopeless(items: list[int]) -> int:
        return len((await astrict.map(items)).dead)

    assert isinstance(bench.run(ahopeless, list(range(1_000))), TypeError)
    assert len(steps()) == 20
