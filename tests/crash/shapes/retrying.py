"""Steps that fail twice before they succeed; a crash does not give them their attempts back."""

from witness import effect, end, seen

import perdure
from perdure import Retry, step, workflow


@step(retry=Retry(attempts=40, delay="1ms", cap="2ms", jitter=0))
def flaky(n: int) -> tuple[int, str]:
    token = effect("flaky", n)
    if perdure.attempt() < 3:
        raise ConnectionError(f"attempt {perdure.attempt()} of item {n} did not get through")
    return n * 10, token


@workflow
def stubborn(count: int) -> int:
    return sum(seen("flaky", n, flaky(n)) for n in range(count))


if __name__ == "__main__":
    end(stubborn(6))
