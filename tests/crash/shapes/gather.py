"""Many async steps at once, finishing in another order every time."""

import asyncio
import random

from witness import effect, end, seen

from perdure import step, workflow


@step
async def square(n: int) -> tuple[int, str]:
    await asyncio.sleep(random.random() * 0.004)
    token = effect("square", n)
    await asyncio.sleep(random.random() * 0.004)
    return n * n, token


async def branch(n: int) -> int:
    first = seen("square", n, await square(n))
    return seen("square", first + 100, await square(first + 100))


@workflow
async def squares(count: int) -> list[int]:
    return list(await asyncio.gather(*(branch(n) for n in range(count))))


if __name__ == "__main__":
    end(asyncio.run(squares(8)))
