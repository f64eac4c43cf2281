"""Threads and a pool that the workflow starts by itself, each with calls of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor

from witness import effect, end, seen

from perdure import step, workflow


@step
def work(n: int) -> tuple[int, str]:
    token = effect("work", n)
    return n * 2, token


def branch(n: int) -> int:
    return seen("work", n, work(n)) + seen("work", n + 100, work(n + 100))


@workflow
def spread(count: int) -> int:
    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.append(branch(n))) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ThreadPoolExecutor(2) as pool:
        return sum(found) + sum(pool.map(branch, range(200, 200 + count)))


if __name__ == "__main__":
    end(spread(4))
