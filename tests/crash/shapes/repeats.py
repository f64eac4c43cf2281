"""The same call with the same arguments, again and again: each is an execution of its own, and keeps its own result."""

from witness import effect, end, seen

import perdure
from perdure import step, workflow


@step
def draw(urn: str) -> tuple[int, str, str]:
    key = str(perdure.idempotency_key())
    token = effect("draw", key)
    return 1, token, key


@workflow
def lottery(draws: int) -> int:
    total = 0
    for _ in range(draws):
        value, token, key = draw("urn")
        total += seen("draw", key, (value, token))
    return total


if __name__ == "__main__":
    end(lottery(10))
