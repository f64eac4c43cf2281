"""Random async workflows that race, on a loop whose time is virtual, in processes that die at a chosen moment.

What a step takes is drawn anew in each life, so an order that is not recorded comes out differently the next time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from conftest import FakeWorld
from perdure import step, workflow
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.records import StepRecord
from perdure.engines.local import LocalEngine
from perdure.engines.local import engine as local
from perdure.store.group_commit import Journal

logging.getLogger("asyncio").setLevel(logging.CRITICAL)

TICK = 0.1
"""All durations are multiples of it, so that what races often ends at the same time."""


class Killed(KeyboardInterrupt):
    """The process dies: nothing of it runs any further."""


class _Selector:
    """Lets time pass at once."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        loop.turns += 1
        if loop.turns == loop.dies_at:
            raise Killed
        if timeout is None:
            loop.woken.wait()
        elif timeout > 0 and not loop.woken.is_set():
            loop.now += timeout
        loop.woken.clear()
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop on which time passes only when nothing else is to be done.

    `dies_at` is the turn that kills the process.
    """

    def __init__(self, dies_at: int = 0) -> None:
        super().__init__()
        self.now = 0.0
        self.turns = 0
        self.dies_at = dies_at
        self.woken = threading.Event()
        self._selector = _Selector(self)

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        self.woken.set()


class Life:
    """One process: how long steps take in it, which steps it must not execute, and what its workflow came across.

    `calls` is where in the trace each call was made.
    """

    def __init__(self, seed: int, saved: frozenset[str]) -> None:
        self.seed = seed
        self.saved = saved
        self.traces: dict[str, list[str]] = {}
        self.calls: dict[tuple[str, str], tuple[str, int]] = {}
        self.executed: Counter[str] = Counter()
        self.again: list[str] = []

    def note(self, what: str) -> None:
        """The workflow that is executing comes across that."""
        self.traces.setdefault(within.get(), []).append(what)

    def seconds(self, name: str) -> float:
        return TICK * random.Random(f"{self.seed} {name}").choice((0, 0, 1, 2, 3, 5, 8, 13))

    def begin(self, key: str, name: str) -> None:
        self.executed[name] += 1
        if key in self.saved:
            self.again.append(name)


within: ContextVar[str] = ContextVar("within", default="")
life = Life(0, frozenset())


@step(retry=None, timeout=None)
async def work(name: str) -> str:
    life.begin(_key(), name)
    await asyncio.sleep(life.seconds(name))
    if name.endswith("!"):
        raise ValueError(name)
    return f"<{name}>"


@step(retry=None, timeout=None)
async def mark(decision: str) -> str:
    life.begin(_key(), decision)
    return decision


def _key() -> str:
    from perdure import idempotency_key as current

    return current()


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
    return await walk(node)


@workflow
async def outer(node: list[Any]) -> str:
    return await walk(node)


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
        await queue.put(await walk(node))

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

    try:
        async with asyncio.TaskGroup() as group:
            for place, each in enumerate(nodes):
                group.create_task(one(place, each))
    except* ValueError:
        done.append(-1)
    return await decide(f"{name}: {done}")


async def _fails(name: str) -> str:
    try:
        return await do(f"{name}!")
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
    "flag": _flag,
    "map": _map,
    "child": _child,
}


def program(seed: int, depth: int = 3, *, failures: bool = False) -> list[Any]:
    """A random program."""
    chance = random.Random(seed)
    names = iter(range(1000))

    def ticks() -> int:
        return chance.choice((1, 2, 3, 5, 8, 400))

    def several(depth: int) -> list[Any]:
        return [node(depth - 1) for _ in range(chance.choice((2, 2, 3)))]

    def node(depth: int) -> list[Any]:
        if depth <= 0:
            kind = chance.choice(("work", "work", "work", "sleep", "fails" if failures else "work"))
        else:
            kind = chance.choice(
                [kind for kind in KINDS if kind not in ("raises", "sleep") and (failures or kind != "fails")]
            )
        name = f"{kind}{next(names)}"
        match kind:
            case "work" | "fails":
                return [kind, name]
            case "sleep":
                return [kind, name, ticks()]
            case "map":
                return [kind, name, chance.choice((1, 3))]
            case "child":
                return [kind, name, node(depth - 1)]
            case "wait_for" | "timeout" | "shield" | "flag":
                return [kind, name, node(depth - 1), ticks()]
            case "group":
                nodes = several(depth)
                return [kind, name, [*nodes, ["raises", f"{name}r"]] if failures and chance.random() < 0.5 else nodes]
        return [kind, name, several(depth)]

    return ["sequence", "all", [node(depth) for _ in range(2)]]


_graves: list[Any] = []
"""A coroutine that is collected would run its clean-up, which the dead do not."""


class Deaths:
    """Lives of one program on one state file, each but the last of which ends by a death.

    `schedules` are the traces that were seen.
    """

    def __init__(self, folder: Path) -> None:
        self.state = folder / "races.db"
        self.schedules: set[tuple[str, ...]] = set()
        self.loop: VirtualLoop
        self._boots = 0

    def _boot(self) -> LocalEngine:
        local.close_all()
        world = FakeWorld()
        world._ids = self._boots = self._boots + 1
        engine = local._engines[self.state] = LocalEngine(self.state, world=world)
        return engine

    def forget(self) -> None:
        """Begin with an empty state file."""
        local.close_all()
        for path in self.state.parent.glob("races.db*"):
            if path.is_file():
                path.unlink()

    def live(self, node: list[Any], seed: int, *, commit: int = 0, turn: int = 0) -> tuple[Life, Any]:
        """One life; it dies after that many commits, or turns of the loop. None instead of the result if it died."""
        global life
        engine = self._boot()
        life = Life(seed, frozenset(self._saved(engine)))
        loop = self.loop = VirtualLoop(turn)
        journal = engine.store.journal
        if commit:
            _die_after(journal, commit)
        asyncio.set_event_loop(loop)
        result = None
        try:
            result = loop.run_until_complete(outer(node))
        except Killed:
            pass
        finally:
            asyncio.set_event_loop(None)
        _graves.append((loop, asyncio.all_tasks(loop)))
        loop.close()
        self.schedules.add(tuple(f"{run} {each}" for run, trace in life.traces.items() for each in trace))
        return life, result

    def _saved(self, engine: LocalEngine) -> list[str]:
        return [
            idempotency_key(run.id, record.name, record.key, record.n)
            for run in engine.store.runs(children=True)
            for record in engine.store.all_records(run.rid)
            if record.status == "done" and record.kind == "step"
        ]

    @contextmanager
    def records(self) -> Iterator[list[StepRecord]]:
        """The records of the newest run."""
        store = self._boot().store
        yield list(store.all_records(store.runs()[0].rid))

    def ended(self) -> bool:
        """Has the run ended before it died?"""
        return self._boot().store.runs()[0].status in ("done", "failed")

    def durable(self) -> set[tuple[str, str]]:
        """Name and argument of each call whose result is saved."""
        from perdure.core.values import codec

        engine = self._boot()
        return {
            (record.name, str(codec.unpack_inputs(record.input, (), owner=record.name)[0][0]))
            for run in engine.store.runs(children=True)
            for record in engine.store.all_records(run.rid)
            if record.status == "done" and record.kind == "step" and record.name in ("work", "mark")
        }


def _die_after(journal: Journal, commits: int) -> None:
    """Let the process die when that many commits are durable."""
    left = [commits]
    write_all = journal.write_all

    def counted(entries: Any) -> None:
        if left[0] <= 0:
            raise Killed
        write_all(entries)
        left[0] -= 1
        if left[0] <= 0:
            raise Killed

    journal.write_all = counted  # type: ignore[method-assign]


def same_so_far(before: Life, after: Life, durable: set[tuple[str, str]]) -> str | None:
    """Where the second life went another way before the last call whose result the first one has saved."""
    last = dict.fromkeys(before.traces, -1)
    for call, (run, place) in before.calls.items():
        if call in durable:
            last[run] = max(last[run], place)
    for run, trace in after.traces.items():  # those of child runs that have ended are not there
        until = last.get(run, -1) + 1
        for place, was in enumerate(before.traces.get(run, [])[:until]):
            now = trace[place] if place < len(trace) else None
            if was != now:
                return f"{run} {place}: {was!r} became {now!r}"
    return None
