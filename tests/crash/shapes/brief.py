"""Three steps: a run that is over soon, for tests that go through every operation of one."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def add(total: int, n: int) -> tuple[int, str]:
    token = effect("add", n)
    return total + n, token


@workflow
def brief(upto: int) -> int:
    total = 0
    for n in range(upto):
        total = seen("add", n, add(total, n))
    return total


if __name__ == "__main__":
    end(brief(3))
