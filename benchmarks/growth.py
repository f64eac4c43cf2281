"""Does a step cost more where much is there already? `python benchmarks/growth.py`, with perdure installed.

By turns, each in a process of its own, 1,000 steps of

- a new run in a new state file;
- a new run in a file of 10,000,000 rows (`--rows`);
- a run that has done 1,000,000 steps (`--steps`), in that file;
- a new run in a new file, in a loop that has 1,000 other runs open (`--open`), beside one in a loop that has one open;

and of each the CPU and the time of a step, as a ratio to the first of the same round (of the last to the one beside
it: a step that a loop waits for is another one). The aim is 1.10. It is judged by the CPU, which other processes
disturb less. The file is made once, by minutes of inserting rows with their checksums, and is kept in `--state` with
what each round adds; broken off, it is gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from perdure.core.checksums import step_checksum
from perdure.core.records import SEQ, Row
from perdure.core.values import codec

SCRIPT = '''
import asyncio, json, os, sys, time
from perdure import step, workflow

SKIP, MORE, OPEN = (int(os.environ[name]) for name in ("SKIP", "MORE", "OPEN"))


@step
def one(n):
    return n


def measure():
    """So many steps that are saved, and then those that are timed. The process dies: the run is gone on with later."""
    for n in range(SKIP):
        one(n)
    stamps, cpu = [time.perf_counter()], time.process_time()
    for n in range(SKIP, SKIP + MORE):
        one(n)
        stamps.append(time.perf_counter())
    cpu = time.process_time() - cpu
    times = sorted(after - before for before, after in zip(stamps, stamps[1:]))
    print(json.dumps({"cpu": cpu / MORE * 1e6, "median": times[MORE // 2] * 1e6}), flush=True)
    os._exit(0)


@workflow
def job(name):
    measure()


@workflow
async def among_others(name):
    measure()


async def many():
    everybody, ready = [], asyncio.Event()
    tasks = [asyncio.create_task(open_run(number, everybody, ready)) for number in range(OPEN)]
    await ready.wait()
    await among_others(sys.argv[1])


async def open_run(number, everybody, ready):
    @workflow(name=f"open-{number}")
    async def opened():
        everybody.append(number)
        if len(everybody) == OPEN:
            ready.set()
        await asyncio.sleep(3600)

    await opened()


asyncio.run(many()) if OPEN else job(sys.argv[1])
'''
AIM = 1.10
AT_ONCE = 100_000
"""Rows that are inserted in one transaction."""


def measured(state: Path, run: str, *, skip: int = 0, more: int, others: int = 0) -> dict[str, float]:
    """The CPU and the median time of a step, in microseconds.

    Args:
        state: the state file.
        run: its argument, by which an unfinished run is found again.
        skip: steps that it has done.
        more: steps that are timed.
        others: runs that are open in the same process.
    """
    script = state.parent / "job.py"
    script.write_text(SCRIPT, encoding="utf-8")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "ALERT_"))}
    env |= {"PERDURE_STATE": str(state), "SKIP": str(skip), "MORE": str(more), "OPEN": str(others)}
    done = subprocess.run([sys.executable, str(script), run], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def grow(state: Path, rows: int, steps: int) -> int:
    """Let the file have so many rows in runs of so many steps each; the steps of the first one."""
    first = 0
    for number in range(max(1, rows // steps)):
        run = "long" if number == 0 else f"other-{number}"
        connection = _rows_of(state, run)
        if connection is None:
            measured(state, run, more=10)
            connection = _rows_of(state, run)
        assert connection is not None
        database, rid, last = connection
        while last < steps:
            print(f"{run}: {last:,} of {steps:,} rows", file=sys.stderr)
            upto = min(last + AT_ONCE, steps)
            with database:
                database.executemany(
                    f"INSERT INTO step VALUES ({','.join('?' * 13)}, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
                    _steps(rid, last, upto),
                )
            last = upto
        first = first or last
        database.close()
    return first


def _rows_of(state: Path, run: str) -> tuple[apsw.Connection, int, int] | None:
    """A connection, the number of the run with that argument, and how many steps it has; None if there is no such."""
    if not state.exists():
        return None
    database = apsw.Connection(str(state))
    given = codec.pack_inputs([run], {}, owner="job")
    found: Any = database.execute("SELECT rid FROM run WHERE input = ? AND workflow = 'job'", (given,)).fetchone()
    if found is None:
        database.close()
        return None
    last: Any = database.execute("SELECT max(seq) FROM step WHERE run = ?", found).fetchone()
    return database, found[0], last[0] or 0


def _steps(rid: int, first: int, last: int) -> Iterator[Row]:
    for n in range(first, last):
        given = codec.pack_inputs([n], {}, owner="one")
        row = (rid, n + 1, "one", codec.digest(given), 0, "done", given, codec.pack_value(n, owner="one"))
        crc = step_checksum(*row, 1_790_000_000.0, 0, 1, "step")
        assert row[SEQ] == n + 1
        yield (*row, 1_790_000_000.0, 0, 1, crc, "step")


def main() -> int:
    """Measure, print, and return 1 if the aim is missed."""
    asked = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--steps", type=int, default=1_000_000)
    asked.add_argument("--open", type=int, default=1_000)
    asked.add_argument("--timed", type=int, default=1_000, help="steps that are timed")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--state", type=Path, default=Path(__file__).parent / ".state" / "growth")
    options = asked.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    large, small = options.state / "large.db", options.state / "small"
    done = grow(large, options.rows, options.steps)
    kinds = (
        *("a new file", f"{options.rows:,} rows", f"after {options.steps:,} steps"),
        *("one other run open", f"{options.open:,} other runs open"),
    )
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for number in range(options.rounds):
        shutil.rmtree(small, ignore_errors=True)
        small.mkdir()
        for kind in kinds if number % 2 == 0 else kinds[::-1]:
            if kind == kinds[2]:
                one = measured(large, "long", skip=done, more=options.timed)
                done += options.timed
            elif kind == kinds[1]:
                one = measured(large, f"new-{os.getpid()}-{number}", more=options.timed)
            else:
                others = {kinds[3]: 1, kinds[4]: options.open}.get(kind, 0)
                one = measured(small / f"{len(kind)}.db", "new", more=options.timed, others=others)
            found[kind].append(one)
            print(f"round {number + 1}: {kind}: {one}", file=sys.stderr)
    print(f"{'':26} {'CPU a step':>12} {'ratio':>6} {'median step':>12} {'ratio':>6}")
    missed = False
    for kind in kinds:
        line = f"{kind:26}"
        for what in ("cpu", "median"):
            base = found[kinds[3] if kind == kinds[4] else kinds[0]]
            ratio = statistics.median(b[what] / a[what] for a, b in zip(base, found[kind], strict=True))
            line += f" {statistics.median(one[what] for one in found[kind]):9.0f} us {ratio:6.2f}"
            missed |= what == "cpu" and kind != kinds[3] and ratio > AIM
        print(line)
    print(f"load {os.getloadavg()[0]:.1f}; aim: at most {AIM} times the CPU: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
