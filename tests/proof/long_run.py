"""A run of very many steps: what is executed is one byte in LEDGER, and every thousandth is said."""

from __future__ import annotations

import os
import signal

from perdure import step, workflow

LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
SAID = 1_000


@step
def one(n: int) -> int:
    os.write(LEDGER, b".")
    return n


@workflow
def many(count: int) -> int:
    total = 0
    for n in range(1, count + 1):
        total += one(n)
        if n % SAID == 0:
            print(n, flush=True)
    if "DIE" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return total


if __name__ == "__main__":
    if "SILENT" in os.environ:
        from perdure.store import checkpoints

        checkpoints.LONG = 1 << 60
    print("total", many(int(os.environ["COUNT"])), flush=True)
