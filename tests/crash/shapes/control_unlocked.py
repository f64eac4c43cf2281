"""A control that must fail the oracle: locks are granted to whoever asks, so two processes run the same run."""

import fcntl
import time

from witness import effect, end, seen

from perdure import step, workflow

fcntl.flock = lambda descriptor, operation: None


@step
def add(n: int) -> tuple[int, str]:
    token = effect("add", n)
    time.sleep(0.002)
    return n, token


@workflow
def nightly(count: int) -> int:
    return sum(seen("add", n, add(n)) for n in range(count))


if __name__ == "__main__":
    end(nightly.with_options(id="nightly-2026-11-23")(8))
