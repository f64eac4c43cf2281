"""How long `perdure crashtest` takes: `python benchmarks/crashtest.py`, with perdure installed.

Two scripts that are made here: five steps, each killed in each way; and a hundred steps with 200 kills. Seconds of the
clock and of CPU, of the command and of all that it starts, by turns with an undisturbed run of the same script. On a
busy machine only the CPU of a kill says something, beside that of the undisturbed run. No command takes longer than
the time that it is given, two minutes.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROUNDS = 3

TIME = ["--kills", "200", "--time", "2m"]

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

if __name__ == "__main__":
    main()
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

if __name__ == "__main__":
    main()
"""

CASES = {"5 steps": FIVE, "100 steps": MANY}


class Taken(NamedTuple):
    """What a command took."""

    seconds: float
    cpu: float
    output: str


def measured(command: list[str], folder: Path) -> Taken:
    """Seconds of the clock and of CPU, of a command and all that it starts."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):  # 3: the time was over
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(time.perf_counter() - began, used, done.stdout)


def main() -> None:
    """Prints the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    plain: dict[str, list[Taken]] = {name: [] for name in CASES}
    killed: dict[str, list[Taken]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as place:
        for number in range(rounds):
            for name, text in CASES.items():
                folder = Path(place, f"{name}-{number}".replace(" ", "-"))
                folder.mkdir()
                (folder / "job.py").write_text(text, encoding="utf-8")
                plain[name].append(measured(["job.py"], folder))
                killed[name].append(measured(["-m", "perdure", "crashtest", "job.py", *TIME, "--json"], folder))
    for name, taken in killed.items():
        kills = [json.loads(each.output)["kills"] for each in taken]
        each_kill = [one.cpu / many for one, many in zip(taken, kills, strict=True)]
        ratio = statistics.median(one / run.cpu for one, run in zip(each_kill, plain[name], strict=True))
        seconds, used = (statistics.median(each[kind] for each in taken) for kind in (0, 1))
        print(f"{name}: {min(kills)} kills in {seconds:.1f} s, {used:.1f} s of CPU", end="; ")
        print(f"{statistics.median(each_kill) * 1e3:.0f} ms of CPU a kill, {ratio:.2f} times an undisturbed run")


if __name__ == "__main__":
    main()
