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
    for file in state.parent.glob(state.name + "*"):
        file.unlink()
    end(ledger_sum(12))
