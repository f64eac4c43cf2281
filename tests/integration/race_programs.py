"""Random async workflows that race, fail and handle failures.

What a step takes, and whether it fails, is drawn anew in each life, so what is not recorded comes out differently.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from perdure import idempotency_key, step, workflow

TICK = 0.1
"""All durations are multiples of it, so that what races often ends at the same time."""


class Life:
    """One process: how long steps take in it, which steps it must not execute, and what its workflows came across.

    `calls` is where in the trace each call was made, `acted` those whose step has begun; `begun` how often the function
    of each run was called, `left` the runs whose function was left by an exception.
    """

    def __init__(self, seed: int, saved: frozenset[str]) -> None:
        self.seed = seed
        self.saved = saved
        self.traces: dict[str, list[str]] = {}
        self.calls: dict[tuple[str, str], tuple[str, int]] = {}
        self.executed: Counter[str] = Counter()
        self.acted: set[tuple[str, str]] = set()
        self.again: list[str] = []
        self.begun: Counter[str] = Counter()
        self.left: set[str] = set()

    def begin_run(self) -> None:
        """The function of the current run is called. Again, if what has ended it was no history: the step is tried."""
        run = within.get()
        self.begun[run] += 1
        self.traces[run] = []
        self.calls = {call: place for call, place in self.calls.items() if place[0] != run}

    def note(self, what: str) -> None:
        """The workflow that is executing comes across that."""
        self.traces.setdefault(within.get(), []).append(what)

    def seconds(self, name: str) -> float:
        return TICK * random.Random(f"{self.seed} {name}").choice((0, 0, 1, 2, 3, 5, 8, 13))

    def fails(self, name: str) -> bool:
        """Steps with a `!` always fail, those with a `?` in every other life."""
        return "!" in name or ("?" in name and random.Random(f"{self.seed} fails {name}").random() < 0.5)

    def begin(self, key: str, step: str, name: str) -> None:
        self.executed[name] += 1
        self.acted.add((step, name))
        if key in self.saved:
            self.again.append(name)


within: ContextVar[str] = ContextVar("within", default="")
life = Life(0, frozenset())


@step(retry=None, timeout=None)
async def work(name: str) -> str:
    life.begin(idempotency_key(), "work", name)
    await asyncio.sleep(life.seconds(name))
    if life.fails(name):
        raise ValueError(name)
    return f"<{name}>"


@step(retry=None, timeout=None)
async def mark(decision: str) -> str:
    life.begin(idempotency_key(), "mark", decision)
    return decision


def called(name: str, given: str) -> None:
    life.calls[name, given] = (within.get(), len(life.traces.get(within.get(), [])))
    life.note(f"{name}({given})")


async def do(name: str) -> str:
    called("work", name)
    return await work(name)


async def decide(decision: str) -> str:
    life.note(decision)
    called("mark", decision)
    return await mark(decision)


@workflow
async def inner(node: list[Any]) -> str:
    within.set(f"{within.get()}/{node[1]}")
    return await run(node)


@workflow
async def outer(node: list[Any]) -> str:
    return await run(node)


@step(retry=None)
def between(place: int) -> str:
    life.begin(idempotency_key(), "between", str(place))
    return f"between {place}"


new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop


@workflow
def in_loops(nodes: list[Any]) -> list[str]:
    """Each in an event loop that a sync workflow runs, one after the other, and a sync step in between."""
    got = []
    for place, node in enumerate(nodes):
        got += [_in_a_loop(f"loop {place}", node), between(place)]
    return got


@workflow
def in_threads(nodes: list[Any]) -> list[str]:
    """The first in an event loop of the main thread, and each of the others in one of a thread of its own."""
    got = [""] * len(nodes)

    def carry(place: int) -> None:
        got[place] = _in_a_loop(f"loop {place}", nodes[place]) + between(place)

    threads = [threading.Thread(target=carry, args=(place,)) for place in range(1, len(nodes))]
    for thread in threads:
        thread.start()
    carry(0)
    for thread in threads:
        thread.join()
    return got


def _in_a_loop(name: str, node: list[Any]) -> str:
    async def named() -> str:
        within.set(name)
        return await run(node)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(named())


async def run(node: list[Any]) -> str:
    life.begin_run()
    try:
        return await walk(node)
    except Exception:
        life.left.add(within.get())
        raise


async def walk(node: Any) -> str:
    kind, name, *rest = node
    return str(await KINDS[kind](name, *rest))


async def _sleep(name: str, ticks: int) -> str:
    await asyncio.sleep(TICK * ticks)
    return "slept"


async def _sequence(name: str, nodes: list[Any]) -> str:
    return "".join([await walk(each) for each in nodes])


async def _gather(name: str, nodes: list[Any]) -> str:
    return await decide(f"{name}: {await asyncio.gather(*map(walk, nodes))}")


async def _wait_for(name: str, node: Any, ticks: int) -> str:
    try:
        value = await asyncio.wait_for(walk(node), TICK * ticks)
    except TimeoutError:
        return await decide(f"{name} timed out")
    return await decide(f"{name} has {value}")


async def _timeout(name: str, node: Any, ticks: int) -> str:
    try:
        async with asyncio.timeout(TICK * ticks):
            value = await walk(node)
            await asyncio.sleep(TICK)
    except TimeoutError:
        return await decide(f"{name} timed out")
    return await decide(f"{name} has {value}")


async def _first(name: str, nodes: list[Any]) -> str:
    tasks = [asyncio.create_task(walk(each)) for each in nodes]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    won = [place for place, task in enumerate(tasks) if task in done]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return await decide(f"{name}: {won}")


async def _completed(name: str, nodes: list[Any]) -> str:
    order = []
    for each in asyncio.as_completed([walk(each) for each in nodes]):
        order.append(await each)
        await decide(f"{name} {len(order)}: {order[-1]}")
    return str(order)


async def _shield(name: str, node: Any, ticks: int) -> str:
    task = asyncio.create_task(walk(node))
    try:
        await asyncio.wait_for(asyncio.shield(task), TICK * ticks)
    except TimeoutError:
        await decide(f"{name} goes on")
    return await task


async def _queue(name: str, nodes: list[Any]) -> str:
    queue: asyncio.Queue[str] = asyncio.Queue(1)

    async def produce(node: Any) -> None:
        try:
            await queue.put(await walk(node))
        except ValueError:
            await queue.put("failed")

    producers = [asyncio.create_task(produce(each)) for each in nodes]
    got = []
    for place in range(len(nodes)):
        got.append(await queue.get())
        await decide(f"{name} {place}: {got[-1]} {queue.qsize()}")
    await asyncio.gather(*producers)
    return str(got)


async def _group(name: str, nodes: list[Any]) -> str:
    done: list[int] = []

    async def one(place: int, node: Any) -> None:
        await walk(node)
        done.append(place)

    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        async with asyncio.TaskGroup() as group:
            for place, each in enumerate(nodes):
                group.create_task(one(place, each))
    except* ValueError:
        done.append(-1)
        while task.cancelling() > before:  # before Python 3.13, a group that fails may keep its own cancellation
            task.uncancel()
    return await decide(f"{name}: {done}")


async def _fails(name: str) -> str:
    try:
        return await do(f"{name}?")
    except ValueError:
        return await decide(f"{name} failed")


async def _flag(name: str, node: Any, ticks: int) -> str:
    """What a branch sees of another that sleeps beside it."""
    seen: list[str] = []

    async def beside() -> None:
        await asyncio.sleep(TICK * ticks)
        seen.append("late")

    task = asyncio.create_task(beside())
    await walk(node)
    return await decide(f"{name}: {seen}") + str(await task)


async def _alarm(name: str, node: Any) -> str:
    """What a branch sees of a failure in another one, which makes no further call."""
    seen: list[str] = []

    async def beside() -> None:
        try:
            await do(f"{name}?")
        except ValueError:
            seen.append("failed")
        await asyncio.sleep(TICK * 400)

    task = asyncio.create_task(beside())
    try:
        await walk(node)
        return await decide(f"{name}: {seen}")
    finally:
        task.cancel()


async def _all(name: str, nodes: list[Any]) -> str:
    got = await asyncio.gather(*map(walk, nodes), do(f"{name}?"), return_exceptions=True)
    return await decide(f"{name}: {[repr(each) for each in got]}")


async def _exception(name: str, nodes: list[Any]) -> str:
    """What is done when the first of them fails; the others are left to themselves."""
    tasks = [asyncio.create_task(walk(each)) for each in nodes]
    tasks.append(asyncio.create_task(do(f"{name}?")))
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    won = [place for place, task in enumerate(tasks) if task in done]
    first = await decide(f"{name}: {won}")
    return first + str(await asyncio.gather(*tasks, return_exceptions=True))


async def _map(name: str, items: int) -> str:
    life.note(f"map {name}")
    result = await work.map([f"{name}.{place}" for place in range(items)], concurrency=2)
    return await decide(f"{name}: {result.results}")


async def _child(name: str, node: Any) -> str:
    return await asyncio.create_task(inner(node))


KINDS: dict[str, Any] = {
    "work": do,
    "sleep": _sleep,
    "sequence": _sequence,
    "gather": _gather,
    "wait_for": _wait_for,
    "timeout": _timeout,
    "first": _first,
    "completed": _completed,
    "shield": _shield,
    "queue": _queue,
    "group": _group,
    "fails": _fails,
    "raises": lambda name: do(f"{name}!"),
    "hurts": lambda name: do(f"{name}?"),
    "alarm": _alarm,
    "all": _all,
    "exception": _exception,
    "flag": _flag,
    "map": _map,
    "child": _child,
}
