"""Putting runs into queues, and finding the next one: `python benchmarks/queues.py`, with perdure installed.

Aims: `enqueue` costs 1.25 times what one commit does (a step that does nothing, made in turns with it), `enqueue_many`
30 us a run, an event loop that enqueues is not blocked for more than 1 ms, and which of 10,000 runs over 1,000 keys is
next is found within 1.2 times what it takes without keys.

Beside `enqueue` and `enqueue_many` stands their floor: the same rows, written into the same tables by SQLite alone.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import apsw
from machine import as_installed
from reached import reach

import perdure
from perdure import aio, step, workflow

ROUNDS = 5
TURNS = 200
MANY = 1_000
QUEUED, KEYS, CLAIMS = 10_000, 1_000, 500


@step
def nothing(n: int) -> int:
    """What one commit costs."""
    return n


@workflow
def queued(n: int) -> int:
    """What is enqueued."""
    return n


def took(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@workflow
def in_turns(number: int) -> tuple[float, float]:
    """Seconds of one step, and of one enqueue, in turns."""
    pairs = [(took(lambda n=n: nothing(n)), took(lambda n=n: queued.enqueue(n))) for n in range(TURNS)]  # type: ignore[misc]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def floor() -> tuple[float, float, float]:
    """Seconds of a step, of an enqueue and of one run of many, of which SQLite alone writes the rows."""
    from perdure.store.statements import HERE

    real = apsw.Connection(os.environ["PERDURE_STATE"], flags=apsw.SQLITE_OPEN_READONLY)
    (run,) = real.execute("SELECT * FROM run WHERE queue IS NOT NULL AND status = 'queued' LIMIT 1").fetchall()
    (one,) = real.execute("SELECT * FROM step WHERE name = 'nothing' LIMIT 1").fetchall()
    (call,) = real.execute("SELECT * FROM step WHERE name LIKE 'perdure.enqueue:%' LIMIT 1").fetchall()
    made = apsw.Connection(os.path.join(tempfile.mkdtemp(), "floor.db"))
    made.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").fetchall()
    made.execute((HERE / "schema.sql").read_text())
    into = {
        name: f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})" for name, row in (("run", run), ("step", one))
    }
    numbers = count(1)

    def runs(many: int) -> list[tuple[Any, ...]]:
        return [(next(numbers), f"queued-{os.urandom(6).hex()}", *run[2:]) for _ in range(many)]

    def step_of(row: Any) -> tuple[Any, ...]:
        return (row[0], next(numbers), *row[2:])

    def enqueue() -> None:
        made.execute("BEGIN IMMEDIATE")
        made.execute(into["step"], step_of(call))
        made.execute(into["run"], *runs(1))
        made.execute("COMMIT")

    def enqueue_many() -> None:
        made.execute("BEGIN IMMEDIATE")
        made.executemany(into["run"], runs(MANY))
        made.execute("COMMIT")

    pairs = [(took(lambda: made.execute(into["step"], step_of(one))), took(enqueue)) for _ in range(TURNS)]
    commit, both = (statistics.median(column) for column in zip(*pairs, strict=True))
    return commit, both, statistics.median(took(enqueue_many) for _ in range(ROUNDS)) / MANY


async def blocked() -> float:
    """The longest that a loop is kept from its other tasks while 200 runs are enqueued, at the 99.9th percentile."""
    late: list[float] = []
    over = False

    async def watch() -> None:
        while not over:
            began = time.perf_counter()
            await asyncio.sleep(0)
            late.append(time.perf_counter() - began)

    watcher = asyncio.create_task(watch())
    for n in range(TURNS):
        await aio.enqueue(queued, n)
    over = True
    await watcher
    return sorted(late)[int(len(late) * 0.999)]


def claims(name: str, keys: int) -> float:
    """Seconds of CPU for one claim among 10,000 queued runs; each is over before the next one."""
    from perdure.core.execution.run_effects import Start
    from perdure.engines.local import engine_at
    from perdure.store import queue_order

    store = engine_at(Path(os.environ["PERDURE_STATE"])).store
    perdure.Queue(name, concurrency=10, per_key=1)
    for key in range(keys or 1):
        many = queued.with_options(queue=name, key=f"k{key}" if keys else None)
        many.enqueue_many([(n,) for n in range(QUEUED // (keys or 1))])
    run = store.runs(most=1)[0]
    workflows = {(run.script, run.workflow)}

    def operation(connection: Any) -> None:
        for _ in range(CLAIMS):
            rid = queue_order.Waiting(store, connection, time.time(), workflows, [name]).following()
            assert rid is not None
            found = store.run_in(connection, rid)
            start = Start(found.script, found.path, found.workflow, found.key, found.input, fresh="", rid=rid)
            store.begin(start, time.time())(connection)
            now = store.run_in(connection, rid)
            store.put_run(connection, now, status="done", output=b"\xc0", holder=None)
            store.let_go(now)

    began = time.process_time()
    store.journal.write((), operation)
    return (time.process_time() - began) / CLAIMS


def main() -> None:
    """Print the figures: medians of the rounds."""
    as_installed()
    os.environ["PERDURE_STATE"] = str(Path(tempfile.mkdtemp()) / "state.db")
    rounds = []
    for number in range(ROUNDS):
        commit, one = in_turns(number)
        many = took(lambda: queued.enqueue_many([(n,) for n in range(MANY)])) / MANY
        plain, keyed = claims(f"plain-{number}", 0), claims(f"keyed-{number}", KEYS)
        rounds.append((commit, one, one / commit, many, asyncio.run(blocked()), plain, keyed, keyed / plain))
    commit, one, ratio, many, late, plain, keyed, by_keys = (
        statistics.median(column) for column in zip(*rounds, strict=True)
    )
    print(f"one step        {commit * 1e6:7.0f} us")
    print(f"enqueue         {one * 1e6:7.0f} us   {ratio:.2f} of a step, in a workflow")
    print(f"enqueue_many    {many * 1e6:7.0f} us   each of {MANY:,}")
    raw_commit, raw, raw_many = floor()
    print(f"  SQLite alone  {raw * 1e6:7.0f} us   {raw / raw_commit:.2f} of its step")
    print(f"  and of many   {raw_many * 1e6:7.0f} us   each of {MANY:,}")
    print(f"event loop kept {late * 1e6:7.0f} us   at most, in 999 of 1,000 turns")
    print(f"a claim         {plain * 1e6:7.0f} us   of CPU, of {QUEUED:,} runs, begun and ended")
    print(f"with keys       {keyed * 1e6:7.0f} us   of {KEYS:,} keys, one run of each at a time: {by_keys:.2f}")
    reach("F6", "enqueue, in steps that do nothing", ratio, 1.25, "")
    reach("F6", f"enqueue_many, each of {MANY:,}", many * 1e6, 30, "us")
    reach("F6", "an event loop kept from other tasks", late * 1e3, 1, "ms")
    reach("F7", f"a claim over {KEYS:,} keys, in claims without", by_keys, 1.2, "")


if __name__ == "__main__":
    main()
