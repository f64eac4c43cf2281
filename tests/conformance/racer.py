"""A script of races whose workers are killed: each step writes to a ledger when it begins."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from perdure import step, workflow

LEDGER = Path(os.environ.get("LEDGER", ""))


def record(line: str) -> None:
    """One line of the ledger."""
    with LEDGER.open("ab", buffering=0) as ledger:
        ledger.write(f"{line}\n".encode())


@step(retry=None, timeout=None)
async def fetch(mirror: str) -> str:
    """Answers at once, except that the primary never does."""
    record(f"fetch {mirror}")
    if mirror.startswith("primary"):
        await asyncio.Event().wait()
    return mirror


@step(retry=None)
def use(text: str) -> str:
    """A step that takes a while, so that a kill may come in its middle."""
    record(f"use {text}")
    time.sleep(0.02)
    return text


@workflow
async def racing(rounds: int) -> list[str]:
    """In each round one race by a timer, one by who is first, and one by a queue; then what they came to is used."""
    used = []
    for n in range(rounds):
        try:
            text = await asyncio.wait_for(fetch(f"primary {n}"), 0.02)
        except TimeoutError:
            text = await fetch(f"backup {n}")
        tasks = [asyncio.create_task(fetch(f"{name} {n}")) for name in ("primary a", "second", "primary b")]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def produce(name: str, to: asyncio.Queue[str] = queue) -> None:
            await to.put(await fetch(name))

        async with asyncio.TaskGroup() as group:
            for name in "xyz":
                group.create_task(produce(f"{name} {n}"))
            used += [use(await queue.get()) for _ in "xyz"]
        used += [use(text), *(use(task.result()) for task in done)]
    return used
