"""Short sleeps and timers between steps, at the same time and one after the other: none is made twice, none lost."""

import asyncio

from witness import effect, end, seen

import perdure
from perdure import aio, step, workflow


@step
async def note(n: int) -> tuple[int, str]:
    token = effect("note", n)
    return n, token


async def branch(n: int) -> int:
    await aio.sleep(0.003 * (n % 3))
    total = seen("note", n, await note(n))
    won = await aio.wait_any(perdure.timer("2ms"), perdure.event("never"))
    return total + (won.value is None) + seen("note", n + 100, await note(n + 100))


@workflow
async def patience(count: int) -> int:
    before = seen("note", 500, await note(500))
    await aio.sleep(0.002)
    return before + sum(await asyncio.gather(*(branch(n) for n in range(count))))


if __name__ == "__main__":
    end(asyncio.run(patience(4)))
