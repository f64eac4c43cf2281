"""Three steps on perdure, as a whole program."""

from perdure import step, workflow


@step
def work(i: int) -> int:
    return i


@workflow
def three() -> int:
    return work(1) + work(2) + work(3)


if __name__ == "__main__":
    print(three())
