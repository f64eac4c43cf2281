"""What comes first of threads and tasks is history, in each event loop: a resumed run sees the same order.

The loop is the one that executes an async workflow, or one that a sync workflow runs itself, or a thread of it.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import FIRST_COMPLETED, as_completed, gather, to_thread
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest
from anyio import from_thread
from anyio.to_thread import run_sync

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.engines.runtime import moving_threads

ORDER = (4, 1, 3, 0, 2)
Ask = Callable[[int], int]
Seen = Callable[[int], Awaitable[None]]
Main = Callable[[], Coroutine[Any, Any, Any]]


def of_an_async_workflow(main: Main) -> Callable[[], Any]:
    """The loop executes the workflow."""
    whole = workflow(name="main")(main)
    return lambda: asyncio.run(whole())


def of_a_sync_workflow(main: Main) -> Callable[[], Any]:
    """The workflow runs the loop."""
    return workflow(name="main")(lambda: asyncio.run(main()))


def of_a_thread(main: Main) -> Callable[[], Any]:
    """A thread of a sync workflow runs the loop."""

    @workflow(name="main")
    def whole() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(main())).result()

    return whole


LOOPS = (of_an_async_workflow, of_a_sync_workflow, of_a_thread)


async def by_as_completed(ask: Ask, seen: Seen) -> None:
    """Calls in threads, as they come."""
    for future in as_completed([to_thread(ask, n) for n in sorted(ORDER)]):
        await seen(await future)


async def by_wait(ask: Ask, seen: Seen) -> None:
    """The same by `wait`, in a pool of the workflow's own."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(ORDER)) as pool:
        left = {loop.run_in_executor(pool, ask, n) for n in ORDER}
        while left:
            done, left = await asyncio.wait(left, return_when=FIRST_COMPLETED)
            for n in sorted(future.result() for future in done):
                await seen(n)


async def by_anyio(ask: Ask, seen: Seen) -> None:
    """A task for each, with a thread of anyio's."""

    async def one(n: int) -> None:
        await seen(await run_sync(ask, n))

    async with asyncio.TaskGroup() as group:
        for n in sorted(ORDER):
            group.create_task(one(n))


async def by_queue(ask: Ask, seen: Seen) -> None:
    """Threads hand what they get to a queue of the loop."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def one(n: int) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, ask(n))

    threads = [threading.Thread(target=one, args=(n,)) for n in sorted(ORDER)]
    for thread in threads:
        thread.start()
    for _ in threads:
        await seen(await queue.get())
    for thread in threads:
        thread.join()


async def by_shared_list(ask: Ask, seen: Seen) -> None:
    """Threads append to a list, of which a task takes what is new."""
    order: list[int] = []
    came = asyncio.Event()
    loop = asyncio.get_running_loop()

    def one(n: int) -> None:
        order.append(ask(n))
        loop.call_soon_threadsafe(came.set)

    async def take() -> None:
        for at in range(len(ORDER)):
            while len(order) <= at:
                came.clear()
                await came.wait()
            await seen(order[at])

    await gather(take(), *(to_thread(one, n) for n in sorted(ORDER)))


async def by_a_kept_loop(ask: Ask, seen: Seen) -> None:
    """A task keeps the loop while it waits for the threads of a pool."""
    queue: SimpleQueue[int] = SimpleQueue()
    with ThreadPoolExecutor(len(ORDER)) as pool:
        for n in sorted(ORDER):
            pool.submit(lambda n: queue.put(ask(n)), n)
        for _ in ORDER:
            await seen(queue.get())


async def by_loops_on_threads(ask: Ask, seen: Seen) -> None:
    """Each thread runs a loop, whose task has a thread of its own."""
    queue: SimpleQueue[int] = SimpleQueue()

    async def one(n: int) -> None:
        queue.put(await to_thread(ask, n))

    threads = [threading.Thread(target=lambda n=n: asyncio.run(one(n))) for n in sorted(ORDER)]
    for thread in threads:
        thread.start()
    for _ in threads:
        await seen(await to_thread(queue.get))
    for thread in threads:
        thread.join()


RACES = (by_as_completed, by_wait, by_anyio, by_queue, by_shared_list, by_a_kept_loop, by_loops_on_threads)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("race", RACES)
def test_a_resumed_run_sees_its_threads_come_in_the_same_order(
    machine: Machine, race: Callable[[Ask, Seen], Awaitable[None]], loop: Callable[[Main], Callable[[], Any]]
) -> None:
    """What came first, second and third on threads decides the next calls: none of them is another after a failure."""
    turns = {n: threading.Event() for n in ORDER}
    turns[ORDER[0]].set()

    @step(retry=None)
    def ask(n: int) -> int:
        assert turns[n].wait(60)
        machine.ran.append(f"ask {n}")
        return n

    @step(retry=None)
    async def note(so_far: list[int]) -> None:
        machine.ran.append(f"note {so_far}")
        if len(so_far) < len(ORDER):
            turns[ORDER[len(so_far)]].set()

    @step(retry=None)
    async def last() -> None:
        if "failed" not in machine.ran:
            machine.ran.append("failed")
            raise Trouble

    async def main() -> list[int]:
        order: list[int] = []

        async def seen(n: int) -> None:
            order.append(n)
            await note(list(order))

        await race(ask, seen)
        await last()
        return order

    run = loop(main)
    with pytest.raises(Trouble):
        run()
    before = list(machine.ran)
    assert run() == list(ORDER)
    assert machine.ran == before


@pytest.mark.parametrize("loop", LOOPS)
def test_threads_and_tasks_that_end_at_the_same_moment_come_one_after_the_other(
    machine: Machine, loop: Callable[[Main], Callable[[], Any]]
) -> None:
    """The workflow has seen one result, and rests, before the next one comes, whether of a thread or of a task."""
    together = threading.Barrier(3)

    @step(retry=None)
    def ask(n: int) -> int:
        together.wait(60)
        return n

    @step(retry=None)
    async def aask(n: int) -> int:
        await asyncio.get_running_loop().run_in_executor(None, together.wait, 60)
        return n

    async def main() -> list[int]:
        at_once = []
        for turn in range(10):
            left = {asyncio.ensure_future(to_thread(ask, 3 * turn + n)) for n in range(2)}
            left.add(asyncio.ensure_future(aask(3 * turn + 2)))
            while left:
                done, left = await asyncio.wait(left, return_when=FIRST_COMPLETED)
                at_once.append(len(done))
        return at_once

    assert loop(main)() == [1] * 30


async def pool_that_keeps_the_loop(call: Callable[[], int], acall: Callable[[], Awaitable[int]]) -> None:
    """A task waits in the loop's own thread for all that a pool does."""
    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(call) for _ in range(6)]:
            job.result()
    await acall()


async def steps_that_keep_the_loop(call: Callable[[], int], acall: Callable[[], Awaitable[int]]) -> None:
    """Sync steps in the loop's own thread, beside others in threads."""
    tasks = [asyncio.ensure_future(to_thread(call)) for _ in range(3)]
    for _ in range(3):
        call()
        await acall()
    await gather(*tasks)


async def steps_that_threads_ask_the_loop_for(call: Callable[[], int], acall: Callable[[], Awaitable[int]]) -> None:
    """Threads have the loop make calls, and wait for them."""

    def one() -> None:
        for _ in range(3):
            call()
            from_thread.run(acall)

    await gather(*(run_sync(one) for _ in range(2)))


async def threads_that_wait_for_tasks(call: Callable[[], int], acall: Callable[[], Awaitable[int]]) -> None:
    """A thread and a task wait for each other by turns."""
    there: SimpleQueue[int] = SimpleQueue()
    back: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def server() -> None:
        for _ in range(3):
            there.get()
            loop.call_soon_threadsafe(back.put_nowait, call())

    async def client() -> None:
        for _ in range(3):
            there.put(await acall())
            await back.get()

    await gather(to_thread(server), client())


async def threads_that_outlive_a_timeout(call: Callable[[], int], acall: Callable[[], Awaitable[int]]) -> None:
    """What awaits a thread is given up, and the thread goes on."""
    goes_on = threading.Event()

    def late() -> None:
        call()
        assert goes_on.wait(60)
        call()

    task = asyncio.ensure_future(to_thread(late))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.001)
    await acall()
    goes_on.set()
    await task


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "wait",
    [
        pool_that_keeps_the_loop,
        steps_that_keep_the_loop,
        steps_that_threads_ask_the_loop_for,
        threads_that_wait_for_tasks,
        threads_that_outlive_a_timeout,
    ],
)
def test_threads_and_tasks_that_wait_for_each_other_do_not_stand_still(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    wait: Callable[[Callable[[], int], Callable[[], Awaitable[int]]], Awaitable[None]],
    loop: Callable[[Main], Callable[[], Any]],
) -> None:
    """However a thread and the loop wait for each other, it is seen to: no call waits until it is given up on."""
    monkeypatch.setattr(moving_threads, "STUCK_SECONDS", 3600.0)
    monkeypatch.setattr(moving_threads, "MOVING_SECONDS", 3600.0)
    calls: list[int] = []

    @step(retry=None)
    def number(n: int) -> int:
        return n

    @step(retry=None)
    async def anumber(n: int) -> int:
        await asyncio.sleep(0)
        return n

    def call() -> int:
        calls.append(len(calls))
        return number(calls[-1])

    async def acall() -> int:
        calls.append(len(calls))
        return await anumber(calls[-1])

    async def main() -> None:
        await wait(call, acall)

    loop(main)()
    assert len(calls) >= 3
