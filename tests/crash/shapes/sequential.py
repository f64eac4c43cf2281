"""One step after the other, each fed by the one before."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def add(total: int, n: int) -> tuple[int, str]:
    token = effect("add", n)
    return total + n, token


@workflow
def ledger_sum(upto: int) -> int:
    total = 0
    for n in range(upto):
        total = seen("add", n, add(total, n))
    return total


if __name__ == "__main__":
    end(ledger_sum(12))
