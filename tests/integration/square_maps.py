"""A workflow that maps a step over numbers, in each of the ways to do so, for the tests of batches."""

from __future__ import annotations

import asyncio
from typing import Any

from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow

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
