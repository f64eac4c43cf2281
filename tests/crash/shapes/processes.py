"""Steps in processes of their own: one each, and a `map` over a few that are used again."""

from witness import effect, end, seen

from perdure import Retry, step, workflow

AGAIN = Retry(attempts=5, delay="1ms", jitter=0)


@step(isolate=True, retry=AGAIN)
def alone(n: int) -> tuple[int, str]:
    token = effect("alone", n)
    return n, token


@step(retry=AGAIN)
def square(n: int) -> tuple[int, str, int]:
    token = effect("square", n)
    return n * n, token, n


@workflow
def squares(count: int) -> list[int]:
    found = [seen("alone", 0, alone(0))]
    batch = square.map(range(count), processes=2)
    batch.raise_if_dead()
    found += [seen("square", n, (value, token)) for value, token, n in batch.results]
    return [*found, seen("alone", 1, alone(1))]


if __name__ == "__main__":
    end(squares(8))
