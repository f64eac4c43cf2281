"""What alerts cost a script that has a target: `python benchmarks/alerts.py`, with perdure installed.

The same script with `@workflow(alert=...)` and without, each in a process of its own, taken in turns; it ends well, so
none is sent. The difference is what reads the targets, starts the watchdog process and sends it each run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = """
import os, sys
from perdure import step, workflow


@step
def one(n):
    return n


@workflow(alert=sys.argv[1:] or None)
def job():
    return sum(one(n) for n in range(200))


job()
"""
PAIRS = 25


def main() -> None:
    """Measure, and print."""
    taken: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as name:
        script = Path(name) / "job.py"
        script.write_text(SCRIPT, encoding="utf-8")
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "ALERT_"))}
        for number in range(PAIRS + 1):
            for kind, targets in (("without", []), ("with", ["exec:/bin/true"])):
                start = time.perf_counter()
                subprocess.run([sys.executable, str(script), *targets], env=env, check=True)
                if number:  # the first of each fills the caches
                    taken[kind].append(time.perf_counter() - start)
                time.sleep(0.05)  # until the watchdog process has ended: the next is to be measured alone
    for kind, times in taken.items():
        print(f"{kind:8} {statistics.median(times) * 1e3:7.1f} ms for a script of 200 steps, the median of {PAIRS}")
    ratios = [b / a for a, b in zip(taken["without"], taken["with"], strict=True)]
    print(f"ratio    {statistics.median(ratios):7.2f}")


if __name__ == "__main__":
    main()
