"""Alerts to a target that takes none: each is in the spool once its step is done, and waits there; the steps print."""

import os
from pathlib import Path

from witness import effect, end, seen

import perdure
from perdure import step, workflow

os.environ["PERDURE_ALERTS"] = "exec:/bin/false"

WORDS = ("north", "south", "west")


@step
def look(n: int) -> tuple[int, str]:
    token = effect("look", n)
    print(f"looks at {n}")
    return n, token


@workflow
def watch(count: int) -> int:
    total = 0
    for n in range(count):
        total += seen("look", n, look(n))
        perdure.alert(f"no answer from the {WORDS[n]}")
    return total


def waiting() -> list[str]:
    """Which of them are in the spool."""
    from perdure.operations import alerts
    from perdure.operations.location import Location

    pending = alerts.pending(Location(Path(os.environ["PERDURE_STATE"]), "the test"), None)
    return [word for word in WORDS if any(word in each.title for each in pending.alerts)]


if __name__ == "__main__":
    total = watch.with_options(id="watch-1")(len(WORDS))
    end([total, waiting()])
