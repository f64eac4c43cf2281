"""A schedule whose clock is killed, and workers that execute its ticks.

The clock shows made-up seconds of a day that is long past, so that each life counts the same ticks. The workers' own
clock finds none: the day comes once in four years.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from witness import effect, end, seen, serve

import perdure
from perdure import step, workflow

MIDNIGHT = datetime(2024, 2, 29, tzinfo=UTC).timestamp()
COUNT = 6


@step
def report(due: int) -> tuple[int, str]:
    token = effect("report", due)
    return due, token


@step
def post(due: int) -> tuple[int, str]:
    token = effect("post", due)
    return due, token


@workflow(name="scheduled.nightly")
def nightly() -> int:
    due = int(perdure.tick().due.timestamp() - MIDNIGHT)
    return 100 * seen("report", due, report(due)) + seen("post", due, post(due))


def count_ticks() -> None:
    """Every second of the minute, however many of them another life has counted."""
    from perdure.core.declared_schedule import DeclaredSchedule
    from perdure.engines.local import schedules
    from perdure.store.runs import Store
    from perdure.store.schedule_clock import advance

    store = Store(Path(os.environ["PERDURE_STATE"]))
    given = DeclaredSchedule("nightly", f"0-{COUNT - 1} 0 0 29 2 *", "UTC", overlap="allow", missed="skip")
    schedules.declare(store, nightly._spec, given, MIDNIGHT - 1)
    for second in range(COUNT + 1):
        advance(store, MIDNIGHT + second)
    store.close()


if __name__ == "__main__":
    count_ticks()
    runs = perdure.runs(workflow="scheduled.nightly")
    handles = [perdure.run(id) for id in sorted(run.id for run in runs)]
    while any(handle.status() in ("queued", "running", "suspended") for handle in handles):
        serve(__file__)
    end([handle.result() for handle in handles])
