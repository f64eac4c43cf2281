"""What guards cost: `python benchmarks/guards.py`, with perdure installed.

One workflow of 1,000 steps one after the other (w1), without guards and with each of them, by turns in one process and
one session. The ratio is to the plain workflow of the same round; a second plain one shows how far two alike differ.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import machine

import perdure
from perdure import step, workflow
from perdure.engines.local import engine

STEPS = 1_000
ROUNDS = 9
FIRST_STEPS = 100
"""Steps of the run that comes before the rounds."""

_numbers = itertools.count()


@step
def plain(n: int) -> int:
    """A step without guards."""
    return n % 100


@step(ensure=lambda result: result < STEPS)
def ensured(n: int) -> int:
    """Its result is looked at."""
    return n % 100


@step(max_repeats=STEPS)
def bounded(n: int) -> int:
    """Its repetitions are counted."""
    return n % 100


@step
def spending(n: int) -> int:
    """It says what it has spent."""
    perdure.spend(usd=0.000_1, tokens=10)
    return n % 100


@step(ensure=lambda result: result < STEPS, max_repeats=STEPS)
def guarded(n: int) -> int:
    """All of it."""
    perdure.spend(usd=0.000_1, tokens=10)
    return n % 100


def _run(called: perdure.Step[[int], int], steps: int, bounds: dict[str, int]) -> int:
    with perdure.budget(**bounds) if bounds else nullcontext():
        return sum(called(n) for n in range(steps))


ALL = {"usd": 1_000, "tokens": 10**9, "calls": 10**6, "seconds": 10**6}


@workflow
def w1(name: str, steps: int, run: int) -> int:
    """One of the cases."""
    called, bounds = CASES[name]
    return _run(called, steps, bounds)


CASES: dict[str, tuple[perdure.Step[[int], int], dict[str, int]]] = {
    "off": (plain, {}),
    "off, once more": (plain, {}),
    "ensure": (ensured, {}),
    "max_repeats": (bounded, {}),
    "budget of dollars": (plain, {"usd": 1_000}),
    "budget and spend": (spending, ALL),
    "all": (guarded, ALL),
}


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of CPU."""
    os.sync()
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    """Prints the figures."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as place:  # /tmp may be memory
        state = Path(place, "state.db")
        os.environ["PERDURE_STATE"] = str(state)
        os.environ["PERDURE_QUIET"] = "1"
        for name in CASES:
            w1(name, FIRST_STEPS, next(_numbers))
        for _ in range(ROUNDS):
            for name in CASES:
                run = next(_numbers)
                found[name].append(measured(lambda name=name, run=run: w1(name, STEPS, run)))  # type: ignore[misc]
        engine.close_at(state)
        print("\n".join(f"{name}: {value}" for name, value in machine.facts(Path(place)).items()))
    print(f"{ROUNDS} rounds by turns, {STEPS:,} steps each; medians, and medians of the ratios within a round\n")
    print(f"{'guards':<20}{'us a step':>10}{'us of CPU':>10}{'time':>8}{'CPU':>8}")
    for name, taken in found.items():
        wall, cpu = (statistics.median(each[kind] for each in taken) * 1e6 / STEPS for kind in (0, 1))
        ratios = [
            statistics.median(one[kind] / off[kind] for one, off in zip(taken, found["off"], strict=True)) - 1
            for kind in (0, 1)
        ]
        print(f"{name:<20}{wall:>10.1f}{cpu:>10.1f}{ratios[0]:>+8.1%}{ratios[1]:>+8.1%}")


if __name__ == "__main__":
    main()
