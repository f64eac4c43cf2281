"""The script after the fix: `convert` mended, `obsolete` removed, `audit` inserted, `rate` now asked for first."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def fetch(n: int) -> tuple[int, str]:
    token = effect("fetch", n)
    return n * 5, token


@step
def audit(n: int) -> tuple[int, str]:
    token = effect("audit", n)
    return n, token


@step
def rate() -> tuple[int, str]:
    token = effect("rate", "")
    return 3, token


@step(retry=None)
def convert(amount: int, by: int) -> tuple[int, str]:
    token = effect("convert", amount)
    return amount * by, token


@workflow
def report(count: int) -> int:
    by = seen("rate", "", rate())
    amounts = []
    for n in range(count):
        seen("audit", n + 100, audit(n + 100))
        amounts.append(seen("fetch", n, fetch(n)))
    return sum(seen("convert", amount, convert(amount, by)) for amount in amounts)


if __name__ == "__main__":
    end(report(6))
