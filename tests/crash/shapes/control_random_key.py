"""A control that must fail the oracle: the steps are steps, but the key their callee sees is new every time."""

import os

from witness import bare_effect, end, seen

from perdure import step, workflow


@step
def add(total: int, n: int) -> tuple[int, str]:
    return total + n, bare_effect("add", n, key=os.urandom(8).hex())


@workflow
def ledger_sum(upto: int) -> int:
    total = 0
    for n in range(upto):
        total = seen("add", n, add(total, n))
    return total


if __name__ == "__main__":
    end(ledger_sum(12))
