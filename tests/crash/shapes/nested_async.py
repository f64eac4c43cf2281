"""Child workflows side by side in one event loop."""

import asyncio
import random

from witness import effect, end, seen

from perdure import step, workflow


@step
async def visit(town: str, n: int) -> tuple[int, str]:
    await asyncio.sleep(random.random() * 0.002)
    token = effect("visit", f"{town}/{n}")
    return n, token


@workflow
async def tour(town: str) -> int:
    total = 0
    for n in range(4):
        total += seen("visit", f"{town}/{n}", await visit(town, n))
    return total


@workflow
async def travel(towns: list[str]) -> list[int]:
    return list(await asyncio.gather(*(tour(town) for town in towns)))


if __name__ == "__main__":
    end(asyncio.run(travel(["rome", "oslo", "lima"])))
