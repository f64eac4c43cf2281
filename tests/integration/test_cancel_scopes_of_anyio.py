"""anyio cancels a task anew in each turn of the loop until it has left the scope: a workflow is not kept in it."""

from __future__ import annotations

import sys
from pathlib import Path

import warm

SCRIPT = """
import asyncio
import anyio, anyio.to_thread
from perdure import step, workflow

@step
async def ask(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds

@step
async def tidied(seconds: float) -> float:
    try:
        await asyncio.sleep(seconds)
    finally:
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0)
    return seconds

@workflow
async def child() -> float:
    return await ask(3600)

@workflow
async def main() -> list[str]:
    await anyio.to_thread.run_sync(abs, 1)  # its thread stays, and waits for more
    left = []
    for name, begin in {
        "step": lambda: ask(3600),
        "tidied": lambda: tidied(3600),
        "map": lambda: ask.map([3600, 3601], concurrency=2),
        "child": child,
        "several": lambda: asyncio.gather(ask(3602), tidied(3603)),
    }.items():
        with anyio.move_on_after(0.01):
            await begin()
        left.append(name)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, 3604)
        await ask(0)
        group.cancel_scope.cancel()
    return [*left, "group"]

print(asyncio.run(main()))
"""


def test_calls_that_a_cancel_scope_gives_up_are_left(tmp_path: Path):
    """Beside a thread of anyio's, which makes the end of a call that was given up an event among others."""
    (tmp_path / "scopes.py").write_text(SCRIPT)
    done = warm.run(
        [sys.executable, "scopes.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "['step', 'tidied', 'map', 'child', 'several', 'group']\n", done.stderr
