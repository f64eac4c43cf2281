"""map: results in input order, from any iterable, side by side as far as it is asked for, in bounded memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from square_maps import KINDS, squares

from conftest import Machine
from perdure import step, workflow
from perdure.errors import OptionError


@pytest.mark.parametrize("kind", KINDS)
def test_results_in_input_order(machine: Machine, kind: str) -> None:
    """Whatever order they finish in; duplicates are items of their own."""
    wf = squares(machine, kind, set(), set())
    assert wf([3, 1, 2, 3, 0]) == [[9, 1, 4, 9, 0], [], 0]
    assert sorted(machine.ran) == [0, 1, 2, 3, 3]


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


def test_many_items_in_bounded_memory(machine: Machine) -> None:
    """Memory per item is little more than a hundred bytes, whatever the items and results are: none is kept."""

    @step(timeout=None)
    async def work(n: int) -> str:
        return "x" * 100

    @workflow
    async def wf(many: int) -> int:
        batch = await work.map((n for n in range(many)), concurrency=100)
        return len(batch.results)

    def peak(many: int) -> int:
        tracemalloc.start()
        try:
            assert asyncio.run(wf(many)) == many
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(300)  # what is made once
    each = (peak(6_000) - peak(2_000)) / 4_000
    assert each < 220, f"{each:.0f} bytes"


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
