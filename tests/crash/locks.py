"""Contention for one lock, with kills: `python -m tests.crash.locks --acquisitions 1000 --seed 1`.

Several processes want it all the time, in three ways; most of them are killed sooner or later, and others come. The
ledger is the judge. Exit status 0 if there were never two holders, 1 if there were.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from . import ledger
from .kill import Kill
from .victim import Death, Home, Nursery

SCRIPT = Path(__file__).with_name("contended.py")
CONTENDERS = 4
LINES = 24  # that a life has if it is not ended


@dataclass
class Result:
    """What came of it: how often the lock was acquired and in which way, how many were killed, what went wrong."""

    acquired: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    killed_inside: int = 0
    wrong: list[str] = field(default_factory=list)


def contend(folder: Path, acquisitions: int, seed: int, *, unlocked: bool = False) -> Result:
    """Let them contend until the lock was acquired so often."""
    homes = [Home(folder / f"contender{number}") for number in range(CONTENDERS)]
    for home in homes:
        home.install(SCRIPT)
        home.state, home.ledger = folder / "state.db", folder / "ledger.jsonl"
    lives = itertools.count()
    enough = threading.Event()
    deaths: list[tuple[int, Death]] = []

    def contender(number: int) -> None:
        rng = random.Random(seed * CONTENDERS + number)
        env = {"CRASH_UNLOCKED": "1"} if unlocked else {}
        with Nursery() as nursery:
            while not enough.is_set():
                life = next(lives)
                deaths.append((life, nursery.live(homes[number], life, _kill(rng), env=env)))
                if _acquired(homes[0].ledger) >= acquisitions or time.monotonic() > deadline:
                    enough.set()

    deadline = time.monotonic() + 60 + acquisitions
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(CONTENDERS))
        for done in [pool.submit(contender, number) for number in range(CONTENDERS)]:
            done.result()
    result = judge(ledger.read(homes[0].ledger), dict(deaths))
    if result.wrong:
        result.wrong += [home.said() for home in homes]
    return result


def _kill(rng: random.Random) -> Kill:
    """At a line of its ledger, which is inside three times out of four; a moment after one; at any time; or never."""
    kind = rng.choice(("point", "event", "time", "none"))
    if kind == "time":
        return Kill("time", spin=rng.uniform(0.0, 0.3))
    if kind == "none":
        return Kill()
    return Kill(kind, at=rng.randint(1, LINES), spin=rng.expovariate(1 / 0.001) if kind == "event" else 0.0)


def _acquired(path: Path) -> int:
    return path.read_bytes().count(b'"enter"') if path.exists() else 0


def judge(lines: list[ledger.Line], deaths: dict[int, Death]) -> Result:
    """Read the ledger: the lines of one holding stand together, its end is missing only if its process was killed, and
    the fences of blocks grow."""
    result = Result(killed=sum(death.killed for death in deaths.values()))
    seen: set[str] = set()
    fence = 0
    for token, group in itertools.groupby(lines, lambda line: line.token):
        holding = list(group)
        first, last = holding[0], holding[-1]
        if token in seen or first.what != "enter":
            result.wrong.append(f"two holders: {first} goes on after another has entered")
            continue
        seen.add(token)
        result.acquired[first.step] += 1
        if last.what != "exit":
            if deaths[first.life].killed:
                result.killed_inside += 1
            else:
                result.wrong.append(f"two holders, or an error: {last} is not the end, and its process was not killed")
        if first.value:
            if first.value <= fence:
                result.wrong.append(f"a fence that does not grow: {first} after {fence}")
            fence = first.value
    for life, death in deaths.items():
        if death.hung or death.status not in (0, -9):
            result.wrong.append(f"life {life} ended with {death}")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.locks", description="Contend for a lock, with kills.")
    parser.add_argument("--acquisitions", type=int, default=1000, help="how often the lock is to be acquired")
    parser.add_argument("--seed", type=int, help="decides who is killed when; default: another one each time")
    parser.add_argument("--unlocked", action="store_true", help="the control: locks are granted to whoever asks")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perdure-locks-") as folder:
        result = contend(Path(folder), options.acquisitions, seed, unlocked=options.unlocked)
    ways = ", ".join(f"{count} as {way}" for way, count in sorted(result.acquired.items()))
    print(
        f"{result.acquired.total()} acquisitions by {CONTENDERS} processes at a time ({ways}); {result.killed} killed,"
        f" {result.killed_inside} of them inside; wrong: {len(result.wrong)}"
        f" · {time.monotonic() - started:.0f} s, seed {seed}"
    )
    for wrong in result.wrong[:20]:
        print(f"  {wrong}")
    return int(bool(result.wrong))


if __name__ == "__main__":
    sys.exit(main())
