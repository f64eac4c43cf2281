"""Branches of which the first decides, and the others are cancelled; who won stays who won."""

import asyncio

from witness import effect, end, seen

from perdure import step, workflow


@step(retry=None)
async def ask(n: int) -> tuple[int, str]:
    token = effect("ask", n)
    return n, token


@step(retry=None, timeout=None)
async def hang(n: int) -> tuple[int, str]:
    effect("hang", n)
    await asyncio.sleep(3600)
    raise AssertionError("it is cancelled long before")


@workflow
async def first_answers(count: int) -> int:
    total = 0
    for n in range(count):
        answered = asyncio.create_task(ask(n))
        _, left = await asyncio.wait([answered, asyncio.create_task(hang(n))], return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        total += seen("ask", n, answered.result())
    return total


if __name__ == "__main__":
    end(asyncio.run(first_answers(8)))
