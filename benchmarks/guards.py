"""What guards cost: `python benchmarks/guards.py [ROUNDS]`, with perdure installed.

Steps one after the other (w1), without guards and with each of them, by turns in one process: short runs, in another
order in each round. A run is measured from its second step to its last, so that its begin and its end are left out.
The ratio is to the plain run of the same round, the figure the median of all rounds, with the middle half of them
behind it; a second plain run shows how far two alike differ. `at best` is the quickest tenth of the runs beside that of
the plain ones, which other programs disturb least. `memory` is the same on a file system in memory, where a step costs
a fraction of one on a disk.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import machine

import perdure
from perdure import step, workflow
from perdure.engines.local import engine

STEPS = 50
ROUNDS = 60
WARM = 2
"""Rounds before those that count."""
MOST = 1_000
"""What is far from being reached."""

_numbers = itertools.count()


@step
def plain(n: int) -> int:
    """A step without guards."""
    return n % 100


@step(ensure=lambda result: result < MOST)
def ensured(n: int) -> int:
    """Its result is looked at."""
    return n % 100


@step(max_repeats=MOST)
def bounded(n: int) -> int:
    """Its repetitions are counted."""
    return n % 100


@step
def spending(n: int) -> int:
    """It says what it has spent."""
    perdure.spend(usd=0.000_1, tokens=10)
    return n % 100


@step(ensure=lambda result: result < MOST, max_repeats=MOST)
def watched(n: int) -> int:
    """All that a step is given."""
    return n % 100


@step(ensure=lambda result: result < MOST, max_repeats=MOST)
def guarded(n: int) -> int:
    """The same, and it says what it has spent."""
    perdure.spend(usd=0.000_1, tokens=10)
    return n % 100


ALL = {"usd": 1_000, "tokens": 10**9, "calls": 10**6, "seconds": 10**6}


@workflow
def w1(name: str, steps: int, run: int) -> list[float]:
    """One of the cases: seconds of the clock and of CPU that its steps take, but for the first."""
    called, bounds = CASES[name]
    with perdure.budget(**bounds) if bounds else nullcontext():
        called(0)
        began, used = time.perf_counter(), time.thread_time()
        for n in range(1, steps):
            called(n)
        return [time.perf_counter() - began, time.thread_time() - used]


CASES: dict[str, tuple[perdure.Step[[int], int], dict[str, int]]] = {
    "off": (plain, {}),
    "off, once more": (plain, {}),
    "ensure": (ensured, {}),
    "max_repeats": (bounded, {}),
    "budget of dollars": (plain, {"usd": 1_000}),
    "all guards": (watched, ALL),
    "budget and spend": (spending, ALL),
    "all, and spend": (guarded, ALL),
}


def measured(place: Path, rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of the clock and of CPU a step, of each case in each round."""
    found: dict[str, list[list[float]]] = {name: [] for name in CASES}
    turns, state = random.Random(0), place / "state.db"
    os.environ["PERDURE_STATE"] = str(state)
    for number in range(WARM + rounds):
        for name in turns.sample(list(CASES), len(CASES)):
            taken = w1(name, STEPS, next(_numbers))
            if number >= WARM:
                found[name].append([seconds / (STEPS - 1) for seconds in taken])
    engine.close_at(state)
    return found


def at_best(taken: list[list[float]], kind: int) -> float:
    """The seconds below which a tenth of the runs stay."""
    return statistics.quantiles((each[kind] for each in taken), n=10, method="inclusive")[0]


def main() -> None:
    """Prints the figures."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    os.environ["PERDURE_QUIET"] = "1"
    memory = Path("/dev/shm")
    for title, folder in (("disk", Path(__file__).parent), ("memory", memory)):  # /tmp may be memory
        if not folder.is_dir():
            continue
        with tempfile.TemporaryDirectory(dir=folder) as place:
            if title == "disk":
                print("\n".join(f"{name}: {value}" for name, value in machine.facts(Path(place)).items()))
                print(f"{rounds} rounds by turns, {STEPS} steps each")
            found = measured(Path(place), rounds)
        print(f"\n{title:<20}{'us a step':>10}{'us of CPU':>10}{'time':>25}{'CPU':>25}{'time, CPU at best':>20}")
        plain = [at_best(found["off"], kind) for kind in (0, 1)]
        for name, taken in found.items():
            line = f"{name:<20}"
            for kind in (0, 1):
                line += f"{statistics.median(each[kind] for each in taken) * 1e6:>10.1f}"
            for kind in (0, 1):
                ratios = [one[kind] / off[kind] - 1 for one, off in zip(taken, found["off"], strict=True)]
                low, middle, high = statistics.quantiles(ratios, n=4)
                line += f"{middle:>+9.1%} ({low:+.0%} to {high:+.0%})".rjust(25)
            best = [f"{at_best(taken, kind) / plain[kind] - 1:+.1%}" for kind in (0, 1)]
            print(line + ", ".join(best).rjust(20))


if __name__ == "__main__":
    main()
