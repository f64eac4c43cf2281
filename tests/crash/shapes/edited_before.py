"""The script before the fix: `convert` has a bug, so the run fails there."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def fetch(n: int) -> tuple[int, str]:
    token = effect("fetch", n)
    return n * 5, token


@step
def obsolete(n: int) -> tuple[int, str]:
    token = effect("obsolete", n)
    return n, token


@step
def rate() -> tuple[int, str]:
    token = effect("rate", "")
    return 3, token


@step(retry=None)
def convert(amount: int, by: int) -> tuple[int, str]:
    effect("convert", amount)
    raise KeyError(f"no such currency: {by}")


@workflow
def report(count: int) -> int:
    amounts = []
    for n in range(count):
        amounts.append(seen("fetch", n, fetch(n)))
        seen("obsolete", n, obsolete(n))
    by = seen("rate", "", rate())
    return sum(seen("convert", amount, convert(amount, by)) for amount in amounts)


if __name__ == "__main__":
    end(report(6))
