"""DBOS on SQLite: as it comes, or with BENCH_FULL set at WAL + synchronous=FULL.

DBOS sets neither journal_mode nor synchronous and has no option for them: a rollback journal ("delete"), fully flushed.
Every connection of its pool is opened by SQLAlchemy, so a listener on SQLAlchemy's `Engine` class reaches all of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

from dbos import DBOS
from harness import (
    ASYNC_IN_FLIGHT,
    FLEET,
    THREADS_IN_FLIGHT,
    Clock,
    Growth,
    die,
    must_die,
    report,
    report_last_step,
    small,
    state_folder,
)

clock = Clock()
growth: list[float] = []


@DBOS.step()
def warm() -> int:
    return 1


@DBOS.workflow()
def warm_up() -> int:
    return warm()


@DBOS.step()
def work(i: int) -> int:
    return small(i)


@DBOS.step()
async def work_async(i: int) -> int:
    return small(i)


@DBOS.workflow()
def sequential(steps: int) -> int:
    for i in range(steps):
        work(i)
        clock.stamps.append(time.perf_counter())
    return steps


@DBOS.workflow()
def member(first: int, steps: int) -> int:
    for i in range(first, first + steps):
        work(i)
    return steps


@DBOS.workflow()
async def member_async(first: int, steps: int) -> int:
    for i in range(first, first + steps):
        await work_async(i)
    return steps


@DBOS.workflow()
async def map_async(items: int) -> int:
    """A gather of steps, a window at a time: DBOS's fastest way to a checkpoint an item."""
    memory = Growth()
    results: list[int] = []
    for first in range(0, items, ASYNC_IN_FLIGHT):
        window = range(first, min(items, first + ASYNC_IN_FLIGHT))
        results += await asyncio.gather(*(work_async(i) for i in window))
    growth.append(memory.megabytes())
    return len(results)


@DBOS.workflow()
def map_item(i: int) -> int:
    return small(i)


@DBOS.workflow()
def map_threads(items: int) -> int:
    """Child workflows, a window at a time: steps of one workflow cannot run in threads. Faster than a DBOS queue."""
    memory = Growth()
    results: list[int] = []
    for first in range(0, items, THREADS_IN_FLIGHT):
        window = range(first, min(items, first + THREADS_IN_FLIGHT))
        handles = [DBOS.start_workflow(map_item, i) for i in window]
        results += [handle.get_result() for handle in handles]
    growth.append(memory.megabytes())
    return len(results)


@DBOS.workflow()
def long(steps: int) -> int:
    for i in range(steps):
        work(i)
    if must_die():
        die()
    work(steps)
    report_last_step()


def launch() -> None:
    """Opens DBOS on a file in the state folder, and checks how SQLite is really set."""
    if "BENCH_FULL" in os.environ:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        @event.listens_for(Engine, "connect")
        def full(connection, _record) -> None:  # type: ignore[no-untyped-def]
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    url = f"sqlite:///{state_folder() / 'dbos.sqlite'}"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()


def settings() -> tuple[str, int]:
    """What a connection of DBOS's own pool says about its journal and its flushing."""
    from dbos._dbos import _get_dbos_instance
    from sqlalchemy import text

    with _get_dbos_instance()._sys_db.engine.connect() as connection:
        journal = connection.execute(text("PRAGMA journal_mode")).scalar()
        return journal, connection.execute(text("PRAGMA synchronous")).scalar()


def check_settings() -> None:
    """Refuses to measure anything but what the peer's name says."""
    wanted = ("wal", 2) if "BENCH_FULL" in os.environ else ("delete", 2)
    if settings() != wanted:
        raise SystemExit(f"DBOS runs at {settings()}, not at {wanted}")


async def fleet_async(steps: int) -> None:
    share = steps // FLEET
    await asyncio.gather(*(member_async(k * share, share) for k in range(FLEET)))


def fleet_threads(steps: int) -> None:
    share = steps // FLEET
    threads = [threading.Thread(target=member, args=(k * share, share)) for k in range(FLEET)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def timed(task: str, steps: int) -> float:
    """The asyncio tasks, in one loop."""
    began = time.perf_counter()
    await (fleet_async(steps) if task == "fleet-async" else map_async(steps))
    return time.perf_counter() - began


def main(task: str, steps: int) -> None:
    """Does one task of the runner's."""
    launch()
    if task == "resume":  # launching is what resumes: DBOS runs the pending workflow in a thread of its own
        threading.Event().wait()
    check_settings()
    warm_up()
    if task == "fill":
        long(steps)
    if task.endswith("-async"):
        seconds = asyncio.run(timed(task, steps))
    else:
        began = time.perf_counter()
        {"sequential": sequential, "fleet-threads": fleet_threads, "map-threads": map_threads}[task](steps)
        seconds = time.perf_counter() - began
    report(**clock.facts(seconds), **({"growth": growth[0]} if growth else {}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
