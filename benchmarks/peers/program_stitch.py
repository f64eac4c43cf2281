"""Three steps on stitch-durable, as a whole program."""

import asyncio
import os

from stitch_durable import CheckpointStore, Workflow, step


@step
async def work(i: int) -> int:
    return i


async def three(item: int) -> None:
    print(await work(1) + await work(2) + await work(3))


if __name__ == "__main__":
    store = CheckpointStore(f"{os.environ['BENCH_STATE']}/stitch.db")
    store.database.execute("PRAGMA synchronous=FULL")
    asyncio.run(Workflow(three, name="three").run_many([1], store))
