"""stitch-durable at synchronous=FULL: it comes with NORMAL, at which the last commits are lost with the power.

Its workflows are functions of one item, and everything runs in one event loop: there is nothing of it on threads.
"""

from __future__ import annotations

import asyncio
import sys
import time

from harness import ASYNC_IN_FLIGHT, FLEET, Clock, Growth, die, must_die, report, report_last_step, small, state_folder
from stitch_durable import CheckpointStore, Workflow, step

clock = Clock()


@step
async def work(i: int) -> int:
    return small(i)


async def sequential(steps: int) -> int:
    for i in range(steps):
        await work(i)
        clock.stamps.append(time.perf_counter())
    return steps


async def member(share: list[int]) -> int:
    for i in range(*share):
        await work(i)
    return len(share)


async def map_item(i: int) -> int:
    result: int = await work(i)
    return result


async def long(steps: int) -> None:
    for i in range(steps):
        await work(i)
    if must_die():
        die()
    await work(steps)
    report_last_step()


def opened() -> CheckpointStore:
    """The state file, which waits for the disk at each commit."""
    store = CheckpointStore(state_folder() / "stitch.db")
    store.database.execute("PRAGMA synchronous=FULL")
    return store


async def timed(task: str, steps: int) -> tuple[float, float]:
    """How many seconds the task takes, and by how many MB the memory grows."""
    share = steps // FLEET
    workflow, items, concurrency = {
        "sequential": (sequential, [steps], 1),
        "fleet-async": (member, [[k * share, (k + 1) * share] for k in range(FLEET)], FLEET),
        "map-async": (map_item, range(steps), ASYNC_IN_FLIGHT),
    }[task]
    store = opened()
    memory = Growth()
    began = time.perf_counter()
    await Workflow(workflow, name=task).run_many(items, store, concurrency=concurrency)  # type: ignore[arg-type]
    return time.perf_counter() - began, memory.megabytes()


def main(task: str, steps: int) -> None:
    """Does one task of the runner's."""
    if task in ("fill", "resume"):
        asyncio.run(Workflow(long, name="long").run_many([steps], opened()))
    seconds, growth = asyncio.run(timed(task, steps))
    report(**clock.facts(seconds), **({"growth": growth} if task.startswith("map") else {}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
