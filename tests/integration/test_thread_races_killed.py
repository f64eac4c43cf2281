"""Random programs of threads that race, killed anywhere: each life goes the way of the one before."""

from __future__ import annotations

import pytest
from killed_races import judge

from conftest import Scripts

PROGRAM = """
import contextvars, itertools, os, queue, random, threading, time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from perdure import step, workflow

KILL_AT = int(os.environ.get("KILL_AT", "0"))
events, luck = itertools.count(1), random.Random()
ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def line(text):
    os.write(ledger, f"{text}\\n".encode())

def effect(text):
    line(text)
    if next(events) == KILL_AT:
        os.kill(os.getpid(), 9)

@step(retry=None)
def ask(n: int) -> int:
    time.sleep(luck.choice((0, 0, 0.0005, 0.002)))  # what comes first is another each time
    effect(f"did {n}")
    return n

@step(retry=None)
def note(order: list[int]) -> None:
    effect(f"order {order}")

def call(n):
    ask(n)
    line(f"saw {n}")
    return n

def pool(numbers, seen):
    with ThreadPoolExecutor(2) as executor:
        for future in as_completed([executor.submit(call, n) for n in numbers]):
            seen(future.result())

def first(numbers, seen):
    with ThreadPoolExecutor(8) as executor:
        left = {executor.submit(call, n) for n in numbers}
        while left:
            done, left = wait(left, return_when=FIRST_COMPLETED)
            for n in sorted(future.result() for future in done):
                seen(n)
                if n % 2:
                    left.add(executor.submit(call, 100 * n))

def start(functions, **options):
    threads = [threading.Thread(target=function, **options) for function in functions]
    for thread in threads:
        thread.start()
    return threads

def join(threads):
    for thread in threads:
        thread.join()

def by_queue(numbers, seen, kind=queue.Queue):
    out = kind()
    threads = start([lambda n=n: out.put(call(n)) for n in numbers])
    for _ in threads:
        seen(out.get())
    join(threads)

def by_simple_queue(numbers, seen):
    by_queue(numbers, seen, queue.SimpleQueue)

def by_lock(numbers, seen):
    lock = threading.Lock()
    def one(n):
        call(n)
        with lock:
            seen(call(100 * n))
    join(start([lambda n=n: one(n) for n in numbers]))

def by_condition(numbers, seen):
    condition, box = threading.Condition(), []
    def one(n):
        call(n)
        with condition:
            box.append(n)
            condition.notify()
    threads = start([lambda n=n: one(n) for n in numbers])
    for _ in numbers:
        with condition:
            condition.wait_for(lambda: box)
            n = box.pop(0)
        seen(n)
    join(threads)

def by_event(numbers, seen):
    event, order = threading.Event(), []
    def one(n):
        order.append(call(n))
        event.set()
        order.append(call(100 * n))
    threads = start([lambda n=n: one(n) for n in numbers])
    event.wait()
    seen(order[0])
    join(threads)
    for n in order:
        seen(n)

def nested(numbers, seen):
    def inner(some):
        order = []
        pool(some, order.append)
        return order
    with ThreadPoolExecutor(2) as executor:
        for future in as_completed([executor.submit(inner, numbers[at::2]) for at in (0, 1)]):
            for n in future.result():
                seen(n)

def daemons(numbers, seen):
    jobs, out = queue.Queue(), queue.Queue()
    def serve():
        while (n := jobs.get()) is not None:
            out.put(call(n))
    threads = start([serve, serve], daemon=True)
    for n in numbers:
        jobs.put(n)
    for _ in numbers:
        seen(out.get())
    for _ in threads:
        jobs.put(None)
    join(threads)

def contexts(numbers, seen):
    order, gate = [], threading.Semaphore(2)
    def one(n):
        with gate:
            order.append(call(n))
    join(start([lambda n=n, context=contextvars.copy_context(): context.run(one, n) for n in numbers]))
    for n in order:
        seen(n)

def maps(numbers, seen):
    lock = threading.Lock()
    def one(some):
        ask.map(some, concurrency=2)
        with lock:
            seen(some[0])
    join(start([lambda at=at: one(numbers[at::2]) for at in (0, 1)]))

KINDS = (pool, first, by_queue, by_simple_queue, by_lock, by_condition, by_event, nested, daemons, contexts, maps)

@workflow
def main(seed: int) -> list[int]:
    rng, order, number = random.Random(seed), [], itertools.count(1)
    def seen(n):
        order.append(n)
        note(list(order))
    for _ in range(2):
        rng.choice(KINDS)(list(itertools.islice(number, rng.randint(2, 5))), seen)
    return order

if __name__ == "__main__":
    line(f"order {main(int(os.environ['SEED']))}")
"""


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 200))])
def test_programs_of_threads_that_race_go_the_same_way_in_each_life(scripts: Scripts, seed: int) -> None:
    """Whatever the threads of an unedited script race for: killed anywhere, it resumes, sees the order that it saw, and
    makes no call again whose result it has seen.
    """
    judge(scripts, PROGRAM, seed)
