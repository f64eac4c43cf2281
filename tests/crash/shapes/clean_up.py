"""Deferred calls: each is made once, when the run is done, the last one first."""

from witness import effect, end, seen

import perdure
from perdure import step, workflow


@step
def release(n: int) -> None:
    effect("release", n)


@step
def hold(n: int) -> tuple[int, str]:
    token = effect("hold", n)
    return n, token


@workflow
def child(n: int) -> int:
    perdure.defer(release, n + 100)
    return seen("hold", n + 100, hold(n + 100))


@workflow
def orders(count: int) -> int:
    total = 0
    for n in range(count):
        total += seen("hold", n, hold(n))
        perdure.defer(release, n)
        total += child(n)
    return total


if __name__ == "__main__":
    end(orders.with_options(id="orders-1")(4))
