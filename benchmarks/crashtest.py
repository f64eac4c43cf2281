"""How long `perdure crashtest` takes: `python benchmarks/crashtest.py`, with perdure installed.

Two scripts that are made here: five steps, each killed in each way; and a hundred steps with 200 kills. Seconds of the
clock and of CPU, of the command and of all that it starts, by turns; the machine should do nothing else.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3

FIVE = """
from perdure import step, workflow

@step
def one(n: int) -> int:
    return n + 1

@step
def two(n: int) -> int:
    return n * 2

@step
def three(n: int) -> str:
    return f"{n}"

@step
def four(text: str) -> list[str]:
    return [text]

@step
def five(texts: list[str]) -> int:
    return len(texts)

@workflow
def main() -> int:
    return five(four(three(two(one(1)))))
"""

MANY = """
from perdure import step, workflow

@step
def one(n: int) -> int:
    return n + 1

@step
def two(n: int) -> int:
    return n * 2

@workflow
def main() -> int:
    return sum(two(one(n)) for n in range(50))
"""

CASES = {"5 steps": (FIVE, ["--kills", "200"]), "100 steps, 200 kills": (MANY, ["--kills", "200", "--time", "10m"])}


def measured(script: Path, options: list[str]) -> tuple[float, float, str]:
    """Seconds of the clock, of CPU, and the first line that it prints."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "perdure", "crashtest", str(script), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{script}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, used, done.stdout.splitlines()[0]


def main() -> None:
    """Prints the figures."""
    found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as place:
        for number in range(ROUNDS):
            for name, (text, options) in CASES.items():
                folder = Path(place, f"{name}-{number}".replace(" ", "-").replace(",", ""))
                folder.mkdir()
                script = folder / "job.py"
                script.write_text(text, encoding="utf-8")
                found[name].append(measured(script, options))
    for name, taken in found.items():
        wall, cpu = (statistics.median(each[kind] for each in taken) for kind in (0, 1))
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of CPU ({taken[-1][2]})")


if __name__ == "__main__":
    main()
