"""Dead letters that are re-driven once what broke them is mended: each is resolved once."""

import os
from pathlib import Path
from typing import Any

from witness import bare_effect, effect, end, seen, settled

from perdure import step, workflow

MENDED = Path(os.environ["PERDURE_STATE"]).with_name("mended")


@step(retry=None)
def ship(n: int) -> tuple[int, str, int]:
    if n % 2 and not MENDED.exists():
        bare_effect("fail", n)  # another call to the oracle: it is meant to be made again
        raise ValueError(f"parcel {n} has no address")
    return n, effect("ship", n), n


@workflow
def parcels(count: int) -> list[int]:
    batch = ship.map(range(count), concurrency=2)
    shipped = [seen("ship", n, (value, token)) for value, token, n in batch.results]
    return [sum(shipped), len(batch.dead)]


def redriven() -> int:
    """Re-drive what is left; how many letters remain. The items of letters that are reported resolved are over."""
    from perdure.operations import redrive
    from perdure.operations.location import locate, opened
    from perdure.store.dead_letters import Filter, find

    parked = Filter(status="parked")
    location = locate()
    with opened(location) as store:
        letters = list(find(store, parked))
    redrive.redrive(location, letters, report, watch=lambda event: None, script=Path(__file__))
    with opened(location) as store:
        return len(list(find(store, parked)))


def report(result: Any) -> None:
    """It is on the disk: never again."""
    if result.status != "resolved":
        raise AssertionError(f"{result}")
    settled("letter", result.letter)


if __name__ == "__main__":
    came_to = parcels.with_options(id="parcels-1")(10)
    MENDED.touch()
    end([came_to, redriven()])
