"""Random programs of threads, pools and loops that are killed anywhere resume, and make no completed call again."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from conftest import Scripts

PROGRAM = """
import asyncio, itertools, json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from perdure import step, workflow

KILL_AT = int(os.environ.get("KILL_AT", "0"))
events = itertools.count(1)

def note(what, n):
    fd = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{what} {n}\\n".encode())
    os.close(fd)

def effect(n):
    note("did", n)
    if next(events) == KILL_AT:
        os.kill(os.getpid(), 9)
    return n

@step(retry=None)
def work(n: int) -> int:
    return effect(n)

@step(retry=None)
async def awork(n: int) -> int:
    await asyncio.sleep(0)
    return effect(n)

def call(n):
    got = work(n)
    note("saw", n)
    return got

async def acall(n):
    got = await awork(n)
    note("saw", n)
    return got

@workflow
def child(ops: list) -> int:
    return carry(ops)

def carry(ops):
    return sum(one(*op) for op in ops)

def one(kind, what):
    if kind == "step":
        return call(what)
    if kind == "pool":
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(carry, what))
    if kind == "threads":
        got = []
        threads = [threading.Thread(target=lambda ops=ops: got.append(carry(ops))) for ops in what]
        for thread in threads: thread.start()
        between = call(-what[0][0][1]) if what[0][0][0] == "step" else 0
        for thread in threads: thread.join()
        return sum(got) + between
    if kind == "map":
        return sum(work.map(what, concurrency=2).results)
    if kind == "child":
        return child(what)
    async def together():
        return sum(await asyncio.gather(*map(acall, what[:2]), *(asyncio.to_thread(call, n) for n in what[2:])))
    return asyncio.run(together())

@workflow
def main(ops: list) -> int:
    return carry(ops)

if __name__ == "__main__":
    print("result", main(json.loads(open("program.json").read())))
"""


def ops(rng: random.Random, numbers: Any, depth: int) -> list[Any]:
    """A random program; every step of it has a number of its own."""
    made: list[Any] = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(["step", "pool", "threads", "map", "child", "loop"] if depth else ["step", "map", "loop"])
        if kind == "step":
            made.append((kind, next(numbers)))
        elif kind in ("map", "loop"):
            made.append((kind, [next(numbers) for _ in range(rng.randint(2, 4))]))
        elif kind == "child":
            made.append((kind, ops(rng, numbers, depth - 1)))
        else:
            made.append((kind, [ops(rng, numbers, depth - 1) for _ in range(rng.randint(1, 4))]))
    return made


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 50))])
def test_random_programs_of_threads_that_are_killed_anywhere_resume(scripts: Scripts, seed: int) -> None:
    """Whatever threads, pools and loops call steps: killed anywhere, it resumes, and repeats nothing seen."""
    rng = random.Random(seed)
    program = ops(rng, iter(range(1, 1000)), 2)
    script = scripts.write(PROGRAM)
    (script.parent / "program.json").write_text(json.dumps(program))
    ledger = script.parent / "ledger"
    seen: set[str] = set()
    done: Any = None
    for life in range(6):
        kill_at = str(rng.randint(1, 6)) if life < 5 else "0"
        before = len(ledger.read_text().splitlines()) if ledger.exists() else 0
        done = scripts.run(script, KILL_AT=kill_at, PERDURE_CRASH_LIMIT="1000")
        lines = [line.split() for line in ledger.read_text().splitlines()[before:]]
        again = seen & {n for what, n in lines if what == "did"}
        assert not again, (program, done.stderr)
        seen |= {n for what, n in lines if what == "saw"}
        if done.returncode == 0:
            break
        assert done.returncode == -9, (program, done.stderr)
    assert done.returncode == 0, (program, done.stderr)
