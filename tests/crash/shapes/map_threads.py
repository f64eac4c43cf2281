"""`map` over items in threads."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def triple(n: int) -> tuple[int, str, int]:
    token = effect("triple", n)
    return n * 3, token, n


@workflow
def triples(count: int) -> list[int]:
    batch = triple.map(range(count), concurrency=4)
    batch.raise_if_dead()
    return [seen("triple", n, (value, token)) for value, token, n in batch.results]


if __name__ == "__main__":
    end(triples(24))
