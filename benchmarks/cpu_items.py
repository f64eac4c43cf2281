"""What items cost that keep a processor busy: `python benchmarks/cpu_items.py`, with perdure installed.

Forty items of 20 ms by turns, in one session: a plain loop, a `ProcessPoolExecutor` with two processes,
`map(processes=2)`, and `map(concurrency=2)` of a step with `isolate=True`; each map is a new run, with a checkpoint an
item. Then what a process costs that does nothing: a bare fork, and an attempt with `isolate=True`. Ratios are formed
within a round; medians are printed. The first map, printed apart, starts the process that others are copied from.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import machine

from perdure import step, workflow
from perdure.engines.local import engine

ITEMS = 40
LOOPS = 220_000
"""Of one item: some 20 ms."""
FORKS = 40
ROUNDS = 5

_numbers = itertools.count()


def burn(n: int) -> int:
    """An item: nothing but computing."""
    found = n
    for each in range(LOOPS):
        found = (found * 31 + each) % 1_000_003
    return found


@step(retry=None)
def burn_in_pool(n: int) -> int:
    """In a process of the map."""
    return burn(n)


@step(retry=None, isolate=True)
def burn_alone(n: int) -> int:
    """In a process of its own."""
    return burn(n)


@step(retry=None, isolate=True)
def nothing(n: int) -> int:
    """What is left is the process."""
    return n


@workflow
def pooled(number: int) -> list[int]:
    """All items in two processes."""
    return list(burn_in_pool.map(range(ITEMS), processes=2).results)


@workflow
def isolated(number: int) -> list[int]:
    """All items in processes of their own, two at a time."""
    return list(burn_alone.map(range(ITEMS), concurrency=2).results)


@workflow
def attempts(number: int) -> None:
    """One process after the other."""
    for each in range(FORKS):
        nothing(each)


def loop() -> list[int]:
    """In this process."""
    return [burn(n) for n in range(ITEMS)]


def executor() -> list[int]:
    """As the standard library does it, without checkpoints."""
    with ProcessPoolExecutor(2) as processes:
        return list(processes.map(burn, range(ITEMS)))


def forks() -> None:
    """A copy of this process that says one byte, one after the other."""
    for _ in range(FORKS):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writing, b"1")
            os._exit(0)
        os.close(writing)
        os.read(reading, 2)
        os.close(reading)
        os.waitpid(pid, 0)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print the medians, and the ratios that are aimed at."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        os.environ["PERDURE_STATE"] = str(Path(folder) / "state.db")
        print(", ".join(f"{name} {value}" for name, value in machine.facts(Path(folder)).items()))
        print(f"load {os.getloadavg()[0]:.1f}")
        expected = loop()
        first = seconds(lambda: pooled(next(_numbers)))
        kinds: dict[str, Callable[[], object]] = {
            "plain loop": loop,
            "ProcessPoolExecutor(2)": executor,
            "map(processes=2)": lambda: pooled(next(_numbers)),
            "isolate=True, concurrency=2": lambda: isolated(next(_numbers)),
            f"{FORKS} bare forks": forks,
            f"{FORKS} attempts with isolate=True": lambda: attempts(next(_numbers)),
        }
        assert pooled(next(_numbers)) == isolated(next(_numbers)) == executor() == expected
        rounds = [{kind: seconds(work) for kind, work in kinds.items()} for _ in range(ROUNDS)]
        for kind in kinds:
            print(f"{kind:32} {statistics.median(each[kind] for each in rounds):7.3f} s")
        print(f"{'map(processes=2), the first one':32} {first:7.3f} s")
        _ratio(rounds, "map(processes=2)", "ProcessPoolExecutor(2)", 1.3)
        _ratio(rounds, f"{FORKS} attempts with isolate=True", f"{FORKS} bare forks", 3.0)
        engine.close_all()


def _ratio(rounds: list[dict[str, float]], kind: str, other: str, aim: float) -> None:
    found = statistics.median(each[kind] / each[other] for each in rounds)
    print(f"{kind} / {other}: {found:.2f} (the aim is {aim})")


if __name__ == "__main__":
    main()
