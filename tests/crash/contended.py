"""Wants one lock again and again: as a block, sync and async, and as the lock of a workflow. Says when it is inside.

With CRASH_UNLOCKED set, locks are granted to whoever asks: a control that must fail the oracle.
"""

import asyncio
import fcntl
import os
import time
from contextlib import suppress

from witness import say

from perdure import step, workflow
from perdure.api.lock import lock
from perdure.errors import LockLost

TURNS = 6
UNLOCKED = "CRASH_UNLOCKED" in os.environ
if UNLOCKED:
    fcntl.flock = lambda descriptor, operation: None


def inside(how: str, fence: int = 0) -> None:
    """Four lines of one token: if those of another come between, there were two holders."""
    token = os.urandom(6).hex()
    say("enter", step=how, token=token, value=fence)
    for _ in range(2):
        time.sleep(0.001)  # so that others come meanwhile, if they can
        say("inside", step=how, token=token)
    say("exit", step=how, token=token)


def in_block() -> None:
    with lock("contended", if_locked="wait") as held:
        inside("block", held.fence)


async def in_task() -> None:
    async with lock("contended", if_locked="wait") as held:
        inside("task", held.fence)


@step(retry=None)
def work(turn: str) -> None:
    inside("run")


@workflow(lock="contended", if_locked="wait")
def in_run(turn: str) -> None:
    work(turn)


if __name__ == "__main__":
    for turn in range(TURNS):
        with suppress(*[LockLost] * UNLOCKED):
            match (turn + int(os.environ["CRASH_LIFE"])) % 3:
                case 0:
                    in_block()
                case 1:
                    asyncio.run(in_task())
                case 2:
                    in_run(os.urandom(6).hex())
