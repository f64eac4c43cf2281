"""A control that must fail the oracle: it throws its state away whenever it starts."""

import os
from pathlib import Path

from witness import effect, end, seen

from perdure import step, workflow


@step
def add(total: int, n: int) -> tuple[int, str]:
    return total + n, effect("add", n)


@workflow
def ledger_sum(upto: int) -> int:
    total = 0
    for n in range(upto):
        total = seen("add", n, add(total, n))
    return total


if __name__ == "__main__":
    state = Path(os.environ["PERDURE_STATE"])
    for name in (state.name, f"{state.name}-wal", f"{state.name}-shm"):
        state.with_name(name).unlink(missing_ok=True)
    end(ledger_sum(12))
