"""A control that must fail the oracle: no steps, so nothing is remembered."""

from witness import bare_effect, end, seen


def add(total: int, n: int) -> tuple[int, str]:
    return total + n, bare_effect("add", n)


def ledger_sum(upto: int) -> int:
    total = 0
    for n in range(upto):
        total = seen("add", n, add(total, n))
    return total


if __name__ == "__main__":
    end(ledger_sum(12))
