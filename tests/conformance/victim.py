"""A script whose workers are killed: each step writes to a ledger when it begins, and has an effect under its key.

The effect is a file that is made once: it plays the callee that honours idempotency keys.
"""

from __future__ import annotations

import contextlib
import os
import time

import perdure
from perdure import step, workflow

LEDGER = os.environ.get("LEDGER", "")


@step(retry=None)
def charge(n: int) -> int:
    """A step that takes a while, so that a kill may come in its middle."""
    key = perdure.idempotency_key()
    with open(LEDGER, "ab", buffering=0) as ledger:
        ledger.write(f"{key} {time.time()}\n".encode())
    time.sleep(0.02)
    with contextlib.suppress(FileExistsError), open(f"{LEDGER}.{key}", "xb"):
        pass
    return n * 2


@workflow
def sub(n: int) -> int:
    """A child."""
    return charge(n) + charge(n + 1)


@workflow
def bill(count: int) -> int:
    """Steps one after the other, a batch, and a child."""
    total = sum(charge(n) for n in range(count))
    total += sum(charge.map(range(100, 100 + count), concurrency=4).results)
    return total + sub(1000)
