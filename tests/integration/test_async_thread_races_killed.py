"""Random programs whose threads race, with each other and with the tasks of event loops, killed anywhere."""

from __future__ import annotations

import pytest
from killed_races import judge

from conftest import Scripts

PROGRAM = """
import asyncio, itertools, os, queue, random, threading, time
from asyncio import FIRST_COMPLETED, gather, get_running_loop, to_thread
from concurrent.futures import ThreadPoolExecutor
from anyio.to_thread import run_sync
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

def pause():
    return luck.choice((0, 0, 0.0005, 0.002))  # what comes first is another each time

@step(retry=None)
def ask(n: int) -> int:
    time.sleep(pause())
    effect(f"did {n}")
    return n

@step(retry=None)
async def aask(n: int) -> int:
    await asyncio.sleep(pause())
    effect(f"did {n}")
    return n

@step(retry=None)
async def note(order: list[int]) -> None:
    effect(f"order {order}")

@step(retry=None)
def tnote(order: list[int]) -> None:
    effect(f"held {order}")

def call(n):
    ask(n)
    line(f"saw {n}")
    return n

def twice(n):
    call(n)
    call(100 * n)
    return n

async def acall(n):
    await aask(n)
    line(f"saw {n}")
    return n

def mixed(numbers, some=call):
    return [acall(n) if n % 3 == 0 else to_thread(some, n) for n in numbers]

async def completed(numbers, seen):
    for future in asyncio.as_completed(mixed(numbers, twice)):
        await seen(await future)

async def first(numbers, seen):
    left = {asyncio.ensure_future(each) for each in mixed(numbers)}
    while left:
        done, left = await asyncio.wait(left, return_when=FIRST_COMPLETED)
        for n in sorted(task.result() for task in done):
            await seen(n)
            if n % 2:
                left.add(asyncio.ensure_future(to_thread(call, 100 * n)))

async def pool(numbers, seen):
    loop = get_running_loop()
    with ThreadPoolExecutor(2) as executor:
        left = {loop.run_in_executor(executor, call, n) for n in numbers}
        while left:
            done, left = await asyncio.wait(left, return_when=FIRST_COMPLETED)
            for n in sorted(task.result() for task in done):
                await seen(n)

async def default(numbers, seen):
    loop = get_running_loop()
    for future in asyncio.as_completed([loop.run_in_executor(None, twice, n) for n in numbers]):
        await seen(await future)

async def shared(numbers, seen):
    order = []
    def one(n):
        order.append(call(n))
        order.append(call(100 * n))
    await gather(*(to_thread(one, n) for n in numbers), *(acall(1_000_000 * n) for n in numbers))
    for n in order:
        await seen(n)

async def anyio_pool(numbers, seen):
    order = []
    async def one(n):
        order.append(await run_sync(twice, n))
        await seen(n)
    async with asyncio.TaskGroup() as group:
        for n in numbers:
            group.create_task(one(n))

async def queues(numbers, seen):
    out, loop = asyncio.Queue(), get_running_loop()
    def one(n):
        loop.call_soon_threadsafe(out.put_nowait, call(n))
    async def other(n):
        out.put_nowait(await acall(n))
    tasks = [asyncio.ensure_future(other(n) if n % 2 else to_thread(one, n)) for n in numbers]
    for _ in numbers:
        await seen(await out.get())
    await gather(*tasks)

async def locked(numbers, seen):
    lock, order = threading.Lock(), []
    def one(n):
        call(n)
        with lock:
            order.append(n)
            tnote(order + [0])
    await gather(*(to_thread(one, n) for n in numbers))
    for n in order:
        await seen(n)

async def timeouts(numbers, seen):
    for n in numbers:
        task = asyncio.ensure_future(to_thread(call, n))
        try:
            async with asyncio.timeout(luck.choice((0.0004, 0.001, 0.003))):
                await asyncio.shield(task)
            await seen(n)
        except TimeoutError:
            await seen(-n)
            await seen(await task)

async def threads(numbers, seen):
    out, loop = queue.SimpleQueue(), get_running_loop()
    some = [threading.Thread(target=lambda n=n: out.put(call(n))) for n in numbers]
    for thread in some:
        thread.start()
    side = asyncio.ensure_future(acall(10_000 * numbers[0]))
    for _ in numbers:
        await seen(await to_thread(out.get))
    for thread in some:
        thread.join()
    await seen(await side)

async def group(numbers, seen):
    order = []
    async def one(n):
        order.append(await (to_thread(call, n) if n % 2 else acall(n)))
    async with asyncio.TaskGroup() as tasks:
        for n in numbers:
            tasks.create_task(one(n))
    for n in order:
        await seen(n)

async def kept(numbers, seen):
    with ThreadPoolExecutor(2) as executor:
        jobs = [executor.submit(call, n) for n in numbers]
        for job in jobs:
            await seen(job.result())  # the loop stands still meanwhile

async def direct(numbers, seen):
    order, tasks = [], [asyncio.ensure_future(to_thread(lambda n=n: order.append(call(n)))) for n in numbers]
    for n in numbers:
        order.append(call(100_000_000 * n))  # keeps the loop
        await asyncio.sleep(0)
    await gather(*tasks)
    for n in order:
        await seen(n)

KINDS = (completed, first, pool, default, shared, anyio_pool, queues, locked, timeouts, threads, group, kept, direct)

async def race(seed: int, first: int = 1, note=note) -> list[int]:
    rng, order, number = random.Random(seed), [], itertools.count(first)
    async def seen(n):
        order.append(n)
        await note(list(order))
    for _ in range(2):
        kind = rng.choice(KINDS)
        line(f"kind {kind.__name__}")
        await kind(list(itertools.islice(number, rng.randint(2, 5))), seen)
    return order
"""

EXECUTES = """
main = workflow(name="main")(race)

if __name__ == "__main__":
    line(f"order {asyncio.run(main(int(os.environ['SEED'])))}")
"""
"""The loop executes the workflow."""

RUNS = """
@step(retry=None)
async def inner(order: list[int]) -> None:
    effect(f"inner {order}")

@workflow
def main(seed: int) -> list[int]:
    if seed % 3 == 0:
        return asyncio.run(race(seed))
    order = []
    if seed % 3 == 1:
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(asyncio.run, race(seed))
            call(1_000_003)
            return job.result()
    def one(n):
        for each in asyncio.run(race(seed + n, n, inner)):
            order.append(each)
            tnote(list(order))
    some = [threading.Thread(target=one, args=(n,)) for n in (1, 21)]
    for each in some:
        each.start()
    for each in some:
        each.join()
    return order

if __name__ == "__main__":
    line(f"order {main(int(os.environ['SEED']))}")
"""
"""A sync workflow runs it, or a thread of that does, or two threads run a loop each."""


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 200))])
def test_async_programs_whose_threads_race_go_the_same_way_in_each_life(scripts: Scripts, seed: int) -> None:
    """Whatever the threads and tasks of an unedited async script race for: killed anywhere, it resumes, sees the order
    that it saw, and makes no call again whose result it has seen.
    """
    judge(scripts, PROGRAM + EXECUTES, seed)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 200))])
def test_sync_programs_that_run_such_loops_go_the_same_way_in_each_life(scripts: Scripts, seed: int) -> None:
    """The same holds in loops that a sync workflow, or threads of it, run themselves, and between them."""
    judge(scripts, PROGRAM + RUNS, seed)
