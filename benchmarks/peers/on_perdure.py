"""Perdure as it comes; the runner sets PERDURE_STATE."""

from __future__ import annotations

import sys
import threading
import time

from harness import (
    ASYNC_IN_FLIGHT,
    FLEET,
    THREADS_IN_FLIGHT,
    Clock,
    Growth,
    die,
    must_die,
    report,
    report_last_step,
    small,
)

from perdure import step, workflow

clock = Clock()
growth: list[float] = []


@step
def warm() -> int:
    return 1


@workflow
def warm_up() -> int:
    return warm()


@step
def work(i: int) -> int:
    return small(i)


@step
async def work_async(i: int) -> int:
    return small(i)


@workflow
def sequential(steps: int) -> int:
    for i in range(steps):
        work(i)
        clock.stamps.append(time.perf_counter())
    return steps


@workflow
def member(first: int, steps: int) -> int:
    for i in range(first, first + steps):
        work(i)
    return steps


@workflow
async def member_async(first: int, steps: int) -> int:
    for i in range(first, first + steps):
        await work_async(i)
    return steps


@workflow
async def map_async(items: int) -> int:
    memory = Growth()
    batch = await work_async.map(range(items), concurrency=ASYNC_IN_FLIGHT)
    growth.append(memory.megabytes())
    return len(batch.results)


@workflow
def map_threads(items: int) -> int:
    memory = Growth()
    batch = work.map(range(items), concurrency=THREADS_IN_FLIGHT)
    growth.append(memory.megabytes())
    return len(batch.results)


@workflow
def long(steps: int) -> int:
    for i in range(steps):
        work(i)
    if must_die():
        die()
    work(steps)
    report_last_step()


async def fleet_async(steps: int) -> None:
    import asyncio

    share = steps // FLEET
    await asyncio.gather(*(member_async(k * share, share) for k in range(FLEET)))


def fleet_threads(steps: int) -> None:
    share = steps // FLEET
    threads = [threading.Thread(target=member, args=(k * share, share)) for k in range(FLEET)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def timed(task: str, steps: int) -> float:
    """The asyncio tasks, in one loop."""
    began = time.perf_counter()
    await (fleet_async(steps) if task == "fleet-async" else map_async(steps))
    return time.perf_counter() - began


def main(task: str, steps: int) -> None:
    """Does one task of the runner's."""
    if task in ("fill", "resume"):
        long(steps)
    warm_up()
    if task.endswith("-async"):
        import asyncio

        seconds = asyncio.run(timed(task, steps))
    else:
        began = time.perf_counter()
        {"sequential": sequential, "fleet-threads": fleet_threads, "map-threads": map_threads}[task](steps)
        seconds = time.perf_counter() - began
    report(**clock.facts(seconds), **({"growth": growth[0]} if growth else {}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
