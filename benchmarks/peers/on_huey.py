"""huey on SQLite: WAL and fsync=True, which is synchronous=FULL; worker threads in this process, and results are kept.

It is a task queue and has no steps: an item of a map is a task, and its result the checkpoint. The time includes
putting the tasks into the queue.
"""

from __future__ import annotations

import logging
import sys
import threading
import time

from harness import THREADS_IN_FLIGHT, Growth, report, small, state_folder
from huey import SqliteHuey
from huey.signals import SIGNAL_COMPLETE

huey = SqliteHuey("bench", filename=str(state_folder() / "huey.db"), fsync=True, results=True)
left = threading.Semaphore(0)


@huey.task()
def work(i: int) -> int:
    return small(i)


@huey.signal(SIGNAL_COMPLETE)
def completed(signal: str, task: object) -> None:
    left.release()


def map_threads(items: int) -> tuple[float, float]:
    """How many seconds the items take, and by how many MB the memory grows."""
    logging.getLogger("huey").setLevel(logging.ERROR)
    consumer = huey.create_consumer(workers=THREADS_IN_FLIGHT, periodic=False, initial_delay=0.001, max_delay=0.01)
    memory = Growth()
    began = time.perf_counter()
    consumer.start()
    for i in range(items):
        work(i)
    for _ in range(items):
        left.acquire()
    return time.perf_counter() - began, memory.megabytes()


if __name__ == "__main__":
    seconds, growth = map_threads(int(sys.argv[2]))
    report(seconds=seconds, growth=growth)
