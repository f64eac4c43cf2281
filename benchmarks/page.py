"""What the page costs: `python benchmarks/page.py`, with perdure[ui] installed.

A file of 1,000,000 runs and a run of 100,000 steps in it, as listings.py makes it. Each address is asked as a view of
the page asks it; what it costs is the CPU of the server, which a busy machine hardly changes. Then a run of its own is
executed by turns unwatched and watched by four tabs that ask again at each change: its CPU beside unwatched is the
price of being watched. With `--instructions` (valgrind is needed) its instructions are counted instead, which other
work on the machine does not change. Aims: the overview 100 ms CPU, the long run 60 KB, the run under watch 2 %, idle
0.1 %, 80 MB.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import httpx
from listings import make

from perdure.web import packing

TOKEN = "the-token-of-the-benchmark-0123456789"
TABS = 4
IDLE = 60.0
"""Seconds of doing nothing."""

SETTLED = 5.0
"""Seconds before that."""

VIEWS = (
    ("overview", ("/overview", "/runs?limit=12", "/alerts")),
    ("runs", ("/runs?limit=50",)),
    ("runs, failed", ("/runs?limit=50&status=failed",)),
    ("runs, a text that few have", ("/runs?limit=50&q=run-77777",)),
    ("the long run", ("/runs/long", "/runs/long/timeline?bins=800", "/runs/long/steps?limit=100", "/runs/long/why")),
    ("its steps in the middle", ("/runs/long/steps?limit=100&after=50000",)),
    ("its dead letters", ("/runs/long/steps?limit=100&show=dead",)),
    ("its slowest steps", ("/runs/long/steps?limit=100&sort=slowest",)),
    ("a text in its steps", ("/runs/long/steps?limit=100&q=nothing+of+that",)),
    ("dead letters", ("/letters/reasons", "/letters?status=parked&limit=200")),
    ("metrics", ("/metrics",)),
)

SCRIPT = """
import sys, time
from perdure import step, workflow

@step
def one(n: int) -> int:
    return n

@workflow
def sequential(steps: int) -> int:
    return sum(one(n) for n in range(steps))

@workflow
def mapped(steps: int) -> int:
    return len(one.map(range(steps), concurrency=8).results)

which, steps = sys.argv[1], int(sys.argv[2])
began, wall = time.process_time(), time.perf_counter()
{"w1": sequential, "w3": mapped}[which](steps)
print(time.process_time() - began, time.perf_counter() - wall)
"""


@contextmanager
def serving(state: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client, float]]:
    """A server on the file, a client of it, and the seconds from its start until it listens."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure", "ui", "--no-open", "--port", "0", "--state", str(state)],
        env={**os.environ, "PERDURE_UI_TOKEN": TOKEN},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = next(line.split()[-1] for line in process.stderr if line.startswith("listens at"))
        started = time.perf_counter() - began
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=address, headers=headers, timeout=600, trust_env=False) as client:
            yield process, client, started
    finally:
        process.terminate()
        process.wait()


def cpu_of(process: subprocess.Popen[str]) -> float:
    """Seconds of the processor that a process has used."""
    tasks = Path(f"/proc/{process.pid}/task")  # the kernel's ticks are too coarse for what does nothing
    return sum(int((one / "schedstat").read_text().split()[0]) for one in tasks.iterdir()) / 1e9


def memory_of(process: subprocess.Popen[str]) -> int:
    """Bytes of memory that are resident."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def path_of(address: str) -> str:
    return address if address == "/metrics" else f"/api/v1{address}"


def views(state: Path, rounds: int) -> None:
    """What each view costs in the large file."""
    with serving(state) as (process, client, started):
        began = time.perf_counter()
        client.get(path_of("/")).raise_for_status()
        answered = started + time.perf_counter() - began
        print(f"start {started:.2f} s, the first answer after {answered:.2f} s")
        print(f"{cpu_of(process):.2f} s CPU, {memory_of(process) / 1e6:.0f} MB")
        print(f"{'view':<30} {'first':>8} {'wall':>8} {'CPU':>8} {'bytes':>9}")
        for name, addresses in VIEWS:
            walls, size = [], 0
            used = 0.0
            for turn in range(rounds + 1):
                before, began = cpu_of(process), time.perf_counter()
                size = sum(len(client.get(path_of(one)).raise_for_status().content) for one in addresses)
                walls.append(time.perf_counter() - began)
                used += cpu_of(process) - before if turn else 0.0
            line = f"{walls[0]:>6.2f} s {min(walls[1:]):>6.2f} s {used / rounds * 1000:>5.0f} ms {size:>9,}"
            print(f"{name:<30} {line}")
        print(f"memory then {memory_of(process) / 1e6:.0f} MB")


def idle(state: Path) -> None:
    """What the server uses while four tabs are open and nothing happens."""
    with serving(state) as (process, client, _), tabs(client, lambda: None):
        time.sleep(SETTLED)  # opening them is not idle
        before = cpu_of(process)
        time.sleep(IDLE)
        print(f"idle with {TABS} tabs: {(cpu_of(process) - before) / IDLE:.2%} of a processor")
    with serving(state) as (process, _, _):
        time.sleep(SETTLED)
        before = cpu_of(process)
        time.sleep(IDLE)
        print(f"idle without a tab: {(cpu_of(process) - before) / IDLE:.2%} of a processor")


@contextmanager
def tabs(client: httpx.Client, changed: Callable[[], object], pause: float = 0.7) -> Iterator[None]:
    """Four listeners; each does what the page does when something changes, then waits for so many seconds."""
    over, open_ = threading.Event(), threading.Semaphore(0)

    def listen() -> None:
        with (
            httpx.Client(base_url=client.base_url, headers=client.headers, timeout=None, trust_env=False) as own,
            own.stream("GET", "/api/v1/events") as stream,
        ):
            open_.release()
            try:
                for line in stream.iter_lines():
                    if over.is_set():
                        return
                    if line.startswith("data"):
                        changed()
                        over.wait(pause)
            except httpx.HTTPError:
                return

    threads = [threading.Thread(target=listen, daemon=True) for _ in range(TABS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        open_.acquire()
    try:
        yield
    finally:
        over.set()


def execute(folder: Path, which: str, steps: int, state: Path, *before: str) -> tuple[float, float, int]:
    """A run in a process of its own: CPU and wall clock in seconds, and what valgrind counts if it stands before."""
    done = subprocess.run(
        [*before, sys.executable, str(folder / "watched.py"), which, str(steps)],
        env={**os.environ, "PERDURE_STATE": str(state), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, wall = map(float, done.stdout.split())
    counted = re.findall(r"I\s+refs:\s+([\d,]+)", done.stderr)  # of each process: the run's has by far the most
    return cpu, wall, max((int(one.replace(",", "")) for one in counted), default=0)


@contextmanager
def watching(state: Path, pause: float = 0.7) -> Iterator[list[int]]:
    """A server, and four tabs that show the last run and ask what the page asks; gives how often they did."""
    looks = [0]
    with serving(state) as (_, client, _):

        def look() -> None:
            looks[0] += 1
            for one in ("/runs/last", "/runs/last/timeline?bins=800", "/runs/last/steps?limit=100", "/runs/last/why"):
                client.get(path_of(one))

        with tabs(client, look, pause):
            yield looks


def fresh(folder: Path, name: str) -> Path:
    """A state file with one run in it."""
    state = folder / f"{name}.db"
    make(state, 1, 1)
    return state


def watched(folder: Path, which: str, steps: int, rounds: int) -> None:
    """The CPU of a run by turns without and with four tabs that look at it."""
    ratios = []
    for turn in range(rounds):
        took = {}
        for seen in (False, True) if turn % 2 == 0 else (True, False):
            state = fresh(folder, f"{which}-{turn}-{seen}")
            with watching(state) if seen else nullcontext():
                took[seen] = execute(folder, which, steps, state)[0]
        ratios.append(took[True] / took[False])
    shown = " ".join(f"{one:.3f}" for one in ratios)
    print(f"{which}: CPU of the run under watch beside unwatched: median {median(ratios):.3f} ({shown})")


def counted(folder: Path, which: str, steps: int, rounds: int) -> None:
    """The instructions of a run's process for a step, without and with four tabs that look at it as often, for each
    step, as they do when nothing counts: counting makes the run slower, and the tabs wait as many times longer."""
    counter = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
    start = execute(folder, which, 1, fresh(folder, f"{which}-start"), *counter)[2]
    usual = median(execute(folder, which, steps, fresh(folder, f"{which}-{turn}"))[1] for turn in range(3))
    ratios, said = [], ""
    for turn in range(rounds):
        _, wall, alone = execute(folder, which, steps, fresh(folder, f"{which}-{turn}-alone"), *counter)
        state = fresh(folder, f"{which}-{turn}-seen")
        with watching(state, 0.7 * wall / usual) as looks:
            seen = execute(folder, which, steps, state, *counter)[2]
        ratios.append((seen - start) / (alone - start))
        said += f" {ratios[-1]:.4f} with {looks[0]} looks;"
    each = f"{(alone - start) / steps:,.0f} instructions a step alone"
    said = f"median {median(ratios):.4f} ({said.strip(' ;')})"
    print(f"{which}: instructions of {steps:,} steps under watch beside alone: {said}; {each}", flush=True)


def assets() -> None:
    """The size of what the browser gets, whatever the view."""
    files = [*packing.assets().values(), (packing.PAGE / "shell.html").read_bytes()]
    raw, packed = sum(map(len, files)), sum(len(packing.packed(one)) for one in files)
    print(f"assets: {raw:,} bytes in {len(files)} files, {packed:,} packed")


def main() -> None:
    """Make the file, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--watched", type=int, default=20_000, help="steps of the run under watch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="make the large file there, or take the one that lies there")
    parser.add_argument("--instructions", action="store_true", help="count those of the run under watch, and no more")
    parser.add_argument("--which", choices=("w1", "w3"), help="of the runs under watch, that one alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary, "watched.py").write_text(SCRIPT)
        if given.instructions:
            for which in (given.which,) if given.which else ("w1", "w3"):
                counted(Path(temporary), which, given.watched, given.rounds)
            return
        assets()
        folder = given.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        large = folder / "large.db"
        if not large.exists():
            make(large, given.runs, given.steps)
        views(large, given.rounds)
        idle(large)
        for which in (given.which,) if given.which else ("w1", "w3"):
            watched(Path(temporary), which, given.watched, given.rounds)


if __name__ == "__main__":
    main()
