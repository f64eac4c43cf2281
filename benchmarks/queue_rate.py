"""A queue of empty workflows, beside other queues: `python benchmarks/queue_rate.py`, with perdure installed.

    python benchmarks/queue_rate.py --peers --rounds 5

With `--peers`, huey, procrastinate and DBOS are installed into an environment of their own, and a PostgreSQL is made
for them that is gone afterwards (its programs are Debian's: `apt-get install postgresql`).

Each executes what was queued before its worker began; each run appends its number to a ledger, and a rate is the
runs between the first and the last there over the time between them. All take turns within a round, and ratios are
formed within a round. Who cannot be installed, or has no database, is named and left out. All of them flush each
commit. The CPU that the worker's processes use for a run says more than the rate where others use the machine, too;
that of a PostgreSQL server is not counted.

Aims: 5,000 starts and ends a second in one process, and 4 times the best of the others; four processes do no less;
1,000 keys with one run of each at a time cost at most a fifth of it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import postgres
from environments import prepare, python_of
from machine import as_installed, facts
from reached import reach

PEERS = Path(__file__).resolve().parent / "peers"
WIDTH = 8
PATIENCE_S = 300

CASES = {
    "perdure, 100 slots": ("perdure", 10_000, 100, 1, False),
    "perdure, 10 slots (default)": ("perdure", 10_000, 10, 1, False),
    "perdure, 4 processes of 100": ("perdure", 20_000, 100, 4, False),
    "perdure, 1,000 keys": ("perdure-keys", 10_000, 100, 1, False),
    "huey, SQLite, 10 threads": ("huey", 3_000, 10, 1, False),
    "procrastinate, PostgreSQL, 10": ("procrastinate", 3_000, 10, 1, True),
    "DBOS, SQLite": ("dbos", 500, 10, 1, False),
    "DBOS, PostgreSQL": ("dbos", 1_000, 10, 1, True),
}
"""What is executed: by which peer, how many runs, slots, processes, on PostgreSQL?"""


def main(given: list[str] | None = None) -> None:
    """Install what is asked for, and print the rates: medians of the rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true", help="with huey, procrastinate and DBOS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose names begin so, separated by commas")
    asked = parser.parse_args(given)
    as_installed()
    with contextlib.ExitStack() as stack:
        peers = _peers(stack) if asked.peers else Peers()
        _measure_all(asked, peers)


class Peers(NamedTuple):
    """Where the others are: their interpreter, and the address of PostgreSQL; empty: there is none."""

    python: str = ""
    postgres: str = ""


def _peers(stack: contextlib.ExitStack) -> Peers:
    """Install the others, and start what they need until `stack` is left; what cannot be had is named."""
    try:
        print(prepare("queues"), file=sys.stderr)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"the others cannot be installed: {error}", file=sys.stderr)
        return Peers()
    programs = postgres.server()
    if programs is None:
        print("there is no PostgreSQL: apt-get install postgresql", file=sys.stderr)
        return Peers(str(python_of("queues")))
    return Peers(str(python_of("queues")), stack.enter_context(postgres.running(programs)))


def _measure_all(asked: argparse.Namespace, peers: Peers) -> None:
    only = tuple(name.strip() for name in asked.only.split(",")) if asked.only else ("",)
    cases = {name: case for name, case in CASES.items() if name.startswith(only) and _there(name, case, peers)}
    place = Path(tempfile.gettempdir())
    print(", ".join(f"{name} {what}" for name, what in facts(place).items()), file=sys.stderr)
    rates: dict[str, list[float]] = {name: [] for name in cases}
    used: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(asked.rounds):
        for name, case in cases.items():
            rate, cpu = _measure(case, peers)
            rates[name].append(rate)
            used[name].append(cpu)
            print(f"round {number + 1}: {name}: {rate:,.0f}/s, {cpu * 1e6:,.0f} us", file=sys.stderr)
    first = next(iter(rates))
    print(f"{'':34}{'runs/s':>9}{'least':>9}{'most':>9}{'CPU us':>9}   {first} / it, within a round: rate, CPU")
    for name, found in rates.items():
        ratio = statistics.median(ours / its for ours, its in zip(rates[first], found, strict=True))
        cheaper = statistics.median(its / ours for ours, its in zip(used[first], used[name], strict=True))
        columns = f"{statistics.median(found):9,.0f}{min(found):9,.0f}{max(found):9,.0f}"
        print(f"{name:34}{columns}{statistics.median(used[name]) * 1e6:9,.0f}   {ratio:.2f}, {cheaper:.2f}")
    _judge(rates)


def _judge(rates: dict[str, list[float]]) -> None:
    """The figures that are asked for, of what was measured."""
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ours = medians.get("perdure, 100 slots")
    if ours is None:
        return
    reach("F5", "empty workflows, one process", ours, 5_000, "a second", at_least=True)
    if (several := medians.get("perdure, 4 processes of 100")) is not None:
        reach("F5", "four processes, beside one", several / ours, 1, "x", at_least=True)
    if others := [rate for name, rate in medians.items() if not name.startswith("perdure")]:
        reach("F5", "beside the best of the others", ours / max(others), 4, "x", at_least=True)
    if (keys := medians.get("perdure, 1,000 keys")) is not None:
        reach("F7", "1,000 keys with one run of each, beside one process", keys / ours, 0.8, "x", at_least=True)


def _there(name: str, case: tuple[str, int, int, int, bool], peers: Peers) -> bool:
    peer, *_, on_postgres = case
    missing = [] if peer.startswith("perdure") or peers.python else [peer]
    missing += ["PostgreSQL"] if on_postgres and not peers.postgres else []
    if missing:
        print(f"{name}: left out, without {' and '.join(missing)}", file=sys.stderr)
    return not missing


def _measure(case: tuple[str, int, int, int, bool], peers: Peers) -> tuple[float, float]:
    peer, runs, slots, processes, on_postgres = case
    with tempfile.TemporaryDirectory(prefix=f"{peer}-", ignore_cleanup_errors=True) as folder:
        ledger = Path(folder, "ledger")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")},
            "BENCH_STATE": folder,
            "BENCH_LEDGER": str(ledger),
            "BENCH_POSTGRES": peers.postgres if on_postgres else "",
            "BENCH_KEYS": "1000" if peer == "perdure-keys" else "",
        }
        python = sys.executable if peer.startswith("perdure") else peers.python
        program = [python, str(PEERS / f"queue_on_{peer.partition('-')[0]}.py")]
        subprocess.run([*program, "fill", str(runs)], env=environment, check=True, stdout=subprocess.DEVNULL)
        os.sync()
        worker = subprocess.Popen(
            [*program, "work", str(slots), str(processes)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return _watch(ledger, runs, worker)
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(5)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def _cpu(pid: int) -> float:
    """Seconds that a process and those that it has started have used so far."""
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return ticks / os.sysconf("SC_CLK_TCK") + sum(_cpu(int(child)) for child in below)


def _watch(ledger: Path, runs: int, worker: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Runs a second between the first and the last, and seconds of CPU for each; each has to be there once."""
    first, seen, before = 0.0, 0, 0.0
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        size = ledger.stat().st_size // WIDTH if ledger.exists() else 0
        now = time.monotonic()
        if size and not first:
            first, seen, before = now, size, _cpu(worker.pid)
        if size >= runs:
            used = _cpu(worker.pid) - before
            data = ledger.read_bytes()
            numbers = {data[at : at + WIDTH] for at in range(0, len(data), WIDTH)}
            if len(numbers) != runs or len(data) != runs * WIDTH:
                raise SystemExit(f"{len(data) // WIDTH:,} executions of {len(numbers):,} runs, of {runs:,}")
            return (runs - seen) / (now - first), used / (runs - seen)
        if worker.poll() is not None:
            raise SystemExit(f"the worker has ended with {worker.returncode} after {size:,} of {runs:,} runs")
        time.sleep(0.002)
    raise SystemExit(f"{size:,} of {runs:,} runs in {PATIENCE_S} s")


if __name__ == "__main__":
    main()
