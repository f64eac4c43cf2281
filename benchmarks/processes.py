"""Steps of several processes on one state file: `python benchmarks/processes.py`, with perdure installed.

Each process executes a run of its own, steps in a loop, for some time; one process alone and several by turns. Aims:
several together save as much as one alone, and no step of any waits for longer than 0.3 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = """
import json, os, sys, time
import perdure
from perdure import step, workflow

seconds = float(sys.argv[1])


@step
def one(n):
    return n


@workflow
def job(number):
    times = []
    for n in range(20):
        one(-n)
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.perf_counter() + seconds
    n = 0
    while (before := time.perf_counter()) < end:
        one(n)
        n += 1
        times.append(time.perf_counter() - before)
    print(json.dumps({"steps": n, "longest": max(times), "median": sorted(times)[n // 2]}), flush=True)


job(int(sys.argv[2]))
"""
LONGEST = 0.3
"""Seconds that a step may take, whoever else writes."""


def together(processes: int, seconds: float) -> list[dict[str, float]]:
    """What each of so many processes has done in that time, all on one new state file."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        script = Path(name) / "job.py"
        script.write_text(SCRIPT, encoding="utf-8")
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "ALERT_"))}
        words = [sys.executable, str(script), str(seconds)]
        running = [
            subprocess.Popen([*words, str(k)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for k in range(processes)
        ]
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        return [json.loads(one.communicate()[0]) for one in running]


def main() -> int:
    """Measure, print, and return 1 if an aim is missed."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--processes", type=int, nargs="+", default=[1, 3, 4])
    asked.add_argument("--seconds", type=float, default=5.0)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    counts = sorted({1, *options.processes})
    rates: dict[int, list[float]] = {count: [] for count in counts}
    longest: dict[int, list[float]] = {count: [] for count in counts}
    shares: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(options.rounds):
        for count in counts:
            done = together(count, options.seconds)
            steps = [one["steps"] for one in done]
            rates[count].append(sum(steps) / options.seconds)
            longest[count].append(max(one["longest"] for one in done))
            shares[count].append(min(steps) / max(steps))
            time.sleep(0.2)
    missed = False
    print("processes   steps/s together   of one alone   longest step   least share of the most")
    for count in counts:
        ratio = statistics.median(b / a for a, b in zip(rates[1], rates[count], strict=True))
        worst = max(longest[count])
        missed |= count > 1 and (ratio < 1 or worst > LONGEST)
        print(
            f"{count:9} {statistics.median(rates[count]):18.0f} {ratio:14.2f} {worst:12.3f} s "
            f"{statistics.median(shares[count]):25.2f}"
        )
    print(f"aims: together at least 1.00 of one alone, no step over {LONGEST} s: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
