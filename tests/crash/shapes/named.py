"""A run with an id: one run, ever, and the recorded result to whoever asks again."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def add(n: int) -> tuple[int, str]:
    token = effect("add", n)
    return n, token


@workflow
def nightly(count: int) -> int:
    return sum(seen("add", n, add(n)) for n in range(count))


if __name__ == "__main__":
    end(nightly.with_options(id="nightly-2026-11-23")(8))
