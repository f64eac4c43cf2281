"""An async workflow that calls async steps and plain ones."""

import asyncio
import random

from witness import effect, end, seen

from perdure import step, workflow


@step
def parse(n: int) -> tuple[int, str]:
    token = effect("parse", n)
    return n + 1, token


@step
async def send(n: int) -> tuple[int, str]:
    await asyncio.sleep(random.random() * 0.002)
    token = effect("send", n)
    return n * 2, token


@workflow
async def pipeline(count: int) -> list[int]:
    sent = []
    for n in range(count):
        parsed = seen("parse", n, parse(n))
        pair = await asyncio.gather(send(parsed * 10), send(parsed * 10 + 1))
        sent += [seen("send", parsed * 10 + k, value) for k, value in enumerate(pair)]
    return sent


if __name__ == "__main__":
    end(asyncio.run(pipeline(5)))
