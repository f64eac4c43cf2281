"""A map with items that fail for good: they become dead letters, once, and the rest goes on."""

from witness import effect, end, seen

from perdure import step, workflow


@step(retry=None)
def ship(n: int) -> tuple[int, str, int]:
    token = effect("ship", n)
    if n % 5 == 3:
        raise ValueError(f"parcel {n} has no address")
    return n, token, n


@workflow
def parcels(count: int) -> list[int]:
    batch = ship.map(range(count), concurrency=3)
    shipped = [seen("ship", n, (value, token)) for value, token, n in batch.results]
    return [sum(shipped), len(batch.dead)]


if __name__ == "__main__":
    end(parcels(15))
