"""`map` over items in asyncio tasks."""

import asyncio
import random

from witness import effect, end, seen

from perdure import step, workflow


@step
async def triple(n: int) -> tuple[int, str, int]:
    await asyncio.sleep(random.random() * 0.003)
    token = effect("triple", n)
    return n * 3, token, n


@workflow
async def triples(count: int) -> list[int]:
    batch = await triple.map(range(count), concurrency=6)
    batch.raise_if_dead()
    return [seen("triple", n, (value, token)) for value, token, n in batch.results]


if __name__ == "__main__":
    end(asyncio.run(triples(30)))
