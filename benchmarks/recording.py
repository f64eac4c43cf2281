"""What recording costs: `python benchmarks/recording.py BEFORE`, with perdure installed; BEFORE is a commit's `src`.

Workflows of 10,000 calls, by turns with the code of this checkout and with that of BEFORE, each in a process of its
own. What counts is CPU time; the ratio is that of the medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 10_000
ROUNDS = 7

WORK = """
import itertools, sys, time
import perdure
from perdure import step, workflow

@step
def plain(n: int) -> int:
    return n % 100

@step
def spending(n: int) -> int:
    perdure.spend(usd=0.000_1, tokens=10)
    return n % 100

@workflow
def loop(steps: int, run: int) -> int:
    return sum(plain(n) for n in range(steps))

@workflow
def items(steps: int, run: int) -> int:
    return len(plain.map(range(steps)).results)

@workflow
def keyed(steps: int, run: int) -> int:
    return len(plain.map(range(steps), key=lambda n: f"item-{n}").results)

@workflow
def spends(steps: int, run: int) -> int:
    with perdure.budget(usd=1_000):
        return sum(spending(n) for n in range(steps))

@workflow
def runs(steps: int, run: int) -> int:
    return plain(run)

case, steps = sys.argv[1], int(sys.argv[2])
if case == "runs":
    runs(1, -1)
    began = time.process_time()
    for run in range(steps // 10):
        runs(1, run)
else:
    called = {"loop": loop, "items": items, "keyed": keyed, "spends": spends}[case]
    called(100, 0)
    began = time.process_time()
    called(steps, 1)
print(time.process_time() - began)
"""

CASES = {
    "loop": "a loop of steps",
    "items": "a map",
    "keyed": "a map with key=",
    "spends": "a loop of steps that spend, in a budget",
    "runs": "runs of one step, a tenth as many",
}


def seconds(source: Path, case: str, steps: int) -> float:
    """CPU seconds of one turn."""
    with tempfile.TemporaryDirectory() as place:
        script = Path(place, "work.py")
        script.write_text(WORK)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
        ours = {"PYTHONPATH": str(source), "PERDURE_STATE": f"{place}/state.db", "PERDURE_QUIET": "1"}
        command = [sys.executable, str(script), case, str(steps)]
        done = subprocess.run(command, env={**kept, **ours}, capture_output=True, text=True, check=True)
        return float(done.stdout)


def main(before: Path, rounds: int = ROUNDS, steps: int = STEPS) -> None:
    """Prints the figures."""
    import perdure

    sources = {"before": before, "now": Path(perdure.__file__).parents[1]}
    print(f"{rounds} turns, {steps:,} calls each; medians of CPU time\n")
    print(f"{'':<42}{'us before':>10}{'us now':>10}{'ratio':>8}")
    for case, about in CASES.items():
        taken: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(rounds):
            for name, source in sources.items():
                taken[name].append(seconds(source, case, steps))
        was, now = (
            statistics.median(each) * 1e6 / (steps // 10 if case == "runs" else steps) for each in taken.values()
        )
        print(f"{about:<42}{was:>10.1f}{now:>10.1f}{now / was:>8.3f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
