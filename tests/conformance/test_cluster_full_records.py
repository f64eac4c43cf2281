"""Runs of more steps than one execution's history holds go on in new executions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.bench import Bench, note, steps
from tests.conformance.cluster_steps import atick, executions, tick
from tests.conformance.conftest import Server

from perdure import step, workflow


def test_a_long_loop_goes_on_in_new_records(bench: Bench) -> None:
    """Temporal bounds the record of an execution; a run of more steps than fit goes on without being noticed."""

    @workflow
    def long_loop(count: int) -> int:
        total = 0
        for n in range(count):
            try:
                total = total + tick(n)
            except ValueError:
                total = total + 1000
        return total

    assert bench.run(long_loop, 60) == sum(range(1, 61)) - 50 + 1000
    assert steps() == list(range(60)), "no step runs twice, also none that failed and was handled"
    assert executions(bench, "long_loop") > 3


def test_a_long_map_goes_on_in_new_records(bench: Bench) -> None:
    """The same for a batch: every item once, dead letters kept, and nothing counts as having been there before."""

    @workflow
    def long_map(count: int) -> list[Any]:
        batch = tick.map(range(count), concurrency=7)
        return [list(batch.results), len(batch.dead), batch.skipped]

    results, dead, skipped = bench.run(long_map, 110)
    assert results == [n + 1 for n in range(110) if n % 50 != 49]
    assert (dead, skipped) == (2, 0)
    assert sorted(steps()) == list(range(110))
    assert executions(bench, "long_map") > 3


def test_many_branches_go_on_in_new_records(bench: Bench) -> None:
    """The same for branches that run side by side."""

    @workflow
    async def wide(count: int) -> list[int]:
        return list(await asyncio.gather(*(atick(n) for n in range(count))))

    assert bench.run(wide, 90) == list(range(1, 91))
    assert sorted(steps()) == list(range(90))


def test_a_resumed_map_counts_what_was_there_before(bench: Bench) -> None:
    """Items of an earlier failure count as skipped, those of an earlier record of the same run do not."""
    broken = [True]

    @step(retry=None)
    def item(n: int) -> int:
        note(n)
        if n == 30 and broken[0]:
            raise ConnectionError("thirty")
        return n

    @workflow
    def resumed_map(count: int) -> int:
        return item.map(range(count), on_failure="raise").skipped

    assert isinstance(bench.run(resumed_map, 45), ConnectionError)
    broken[0] = False
    assert bench.run(resumed_map, 45) == 30
    assert sorted(steps()) == sorted([*range(45), 30])


@pytest.mark.long
def test_ten_thousand_items(server: Server, tmp_path: Path) -> None:
    """A batch of more items than one record of Temporal's may hold, with the limits as they are by default."""

    @workflow
    def ten_thousand(count: int) -> list[int]:
        batch = tick.map(range(count), concurrency=100)
        return [len(batch.results), sum(batch.results), len(batch.dead), batch.skipped]

    with Bench(server.url(), tmp_path).in_force() as bench:
        good = [n + 1 for n in range(10_000) if n % 50 != 49]
        assert bench.run(ten_thousand, 10_000) == [len(good), sum(good), 200, 0]
        assert sorted(steps()) == list(range(10_000))
        assert executions(bench, "ten_thousand") > 3
