"""How soon what waits goes on: `python benchmarks/waking.py`, with perdure installed. Commits are synchronous=FULL.

    python benchmarks/waking.py --only signals,ticks --sleepers 100000

Times are in seconds from an event to the first line of user code after it, by a clock that all processes share; they
say as much about the machine as about perdure, so one commit of one row by apsw is measured beside them, in the same
folder.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
from machine import as_installed, facts
from reached import reach

APP = Path(__file__).resolve().parent / "waking_app.py"
PATIENCE_S = 900
IDLE_S = 60
"""Seconds over which the CPU of an idle worker is measured."""


class Place:
    """A folder with a state file and a ledger, and processes that work on it."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.state = self.folder / "state.db"
        self.ledger = self.folder / "ledger"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
        self.env |= {"PERDURE_STATE": str(self.state), "BENCH_LEDGER": str(self.ledger), "PERDURE_QUIET": "1"}

    def lines(self, what: str) -> list[list[str]]:
        """Of the ledger: monotonic time, time of day, process, and what was noted behind `what`."""
        with contextlib.suppress(FileNotFoundError):
            whole = self.ledger.read_text().rpartition("\n")[0]  # the last line may be being written
            found = [line.split() for line in whole.splitlines()]
            return [[*line[:3], *line[4:]] for line in found if line[3] == what]
        return []

    def until(self, what: str, count: int) -> list[list[str]]:
        """The lines, as soon as there are so many."""
        end = time.monotonic() + PATIENCE_S
        while len(found := self.lines(what)) < count:
            if time.monotonic() > end:
                raise SystemExit(f"{len(found)} of {count} {what} in {PATIENCE_S} s")
            time.sleep(0.002)
        return found

    def python(self, code: str, *arguments: object) -> None:
        """Execute code that has the app imported, to its end."""
        head = f"import sys; sys.path.insert(0, {str(APP.parent)!r}); import waking_app as app, perdure, time\n"
        subprocess.run([sys.executable, "-c", head + code, *map(str, arguments)], env=self.env, check=True)

    @contextlib.contextmanager
    def worker(self, *options: str, **env: str) -> Iterator[subprocess.Popen[str]]:
        """A worker that is ready; it and its executors are gone afterwards."""
        process = subprocess.Popen(
            [sys.executable, "-m", "perdure", "worker", str(APP), *options],
            env={**self.env, **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        while "; ready" not in (line := process.stderr.readline()):
            if not line:
                raise SystemExit("the worker has ended")
        pids = [process.pid, *children(process.pid)]
        try:
            yield process
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            process.stderr.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory(pids: list[int]) -> float:
    """Resident megabytes."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu(pids: list[int]) -> float:
    """Seconds used so far."""
    ticks = sum(sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) for pid in pids)
    return ticks / os.sysconf("SC_CLK_TCK")


def floor(place: Place, count: int = 100) -> float:
    """Seconds of one commit of one row."""
    connection = apsw.Connection(str(place.folder / "floor.db"))
    connection.execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS t (x)"
    ).fetchall()
    times = []
    for n in range(count):
        began = time.perf_counter()
        connection.execute("INSERT INTO t VALUES (?)", (n,))
        times.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(times)


def show(name: str, times: list[float], p50: float | None, p99: float | None, commit: float | None = None) -> None:
    """One line: median, 99th percentile, longest; of the first two, what was asked, in milliseconds."""
    found = sorted(times)
    late = found[math.ceil(len(found) * 0.99) - 1]
    ms = f"p50 {statistics.median(found) * 1e3:8.1f} ms   p99 {late * 1e3:8.1f} ms   longest {found[-1] * 1e3:8.1f} ms"
    beside = "" if commit is None else f"   {statistics.median(found) / commit:6.1f} commits"
    print(f"{name:44}{ms}{beside}   ({len(found)} times)", flush=True)
    figure, _, what = name.partition(" ")
    if p50 is not None:
        reach(figure, f"{what}, p50", statistics.median(found) * 1e3, p50, "ms")
    if p99 is not None:
        reach(figure, f"{what}, p99", late * 1e3, p99, "ms")


def ping(place: Place, runs: list[str], times: int) -> list[float]:
    """Signal each run so many times, each time when it waits; seconds until its code ran."""
    code = """
names, times, ledger = sys.argv[1].split(","), int(sys.argv[2]), sys.argv[3]
def count(what, name):
    return sum(f" {what} {name}" in line for line in open(ledger))
for n in range(times):
    for name in names:
        while count("waits", name) < n + 1: time.sleep(0.002)
        time.sleep(float(sys.argv[4]))
        perdure.signal(name, "ping", time.monotonic())
        while count("woken", name) < n + 1: time.sleep(0.002)
"""
    before = len(place.lines("woken"))
    place.python(code, ",".join(runs), times, place.ledger, 0.02)
    return [float(line[-1]) for line in place.lines("woken")[before:]]


def signals(place: Place, asked: argparse.Namespace) -> None:
    """F1: from `signal` called to workflow code running, in another process."""
    commit = floor(place)
    name, many, asleep = "memory", 300, 200
    command = [sys.executable, "-m", "perdure", "run", "--wait", "--id", name, f"{APP}:listener", name, "0", str(many)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=place.env, **quiet)
    place.until("waits", 1)
    show("F1 signal, waited for in memory", ping(place, [name], many), 3, 20, commit)
    process.wait()
    runs = [f"s{n}" for n in range(asleep)]
    code = f"for n in range({asleep}): app.listener.with_options(id=f's{{n}}').enqueue(f's{{n}}', 100, 1)"
    with place.worker():
        place.python(code)
        place.until("waits", many + asleep)
        time.sleep(2)  # they are left meanwhile
        show("F1 signal, suspended with 100 records", ping(place, runs, 1), 15, 50, commit)
    busy = {**place.env, "BENCH_BUSY": "120"}
    code = f"import sys; sys.path.insert(0, {str(APP.parent)!r}); import waking_app as app; app.busy(int(sys.argv[1]))"
    code2 = f"for n in range({asleep}): app.listener.with_options(id=f'b{{n}}').enqueue(f'b{{n}}', 100, 1)"
    before = len(place.lines("waits"))
    with place.worker():
        place.python(code2)
        place.until("waits", before + asleep)
        time.sleep(2)
        writers = [
            subprocess.Popen([sys.executable, "-c", code, str(n * 10**6)], env=busy, stderr=subprocess.DEVNULL)
            for n in range(3)
        ]
        time.sleep(3)
        show(
            "F1 the same, beside 3 writing processes",
            ping(place, [f"b{n}" for n in range(asleep)], 1),
            None,
            100,
            commit,
        )
        for each in writers:
            each.kill()
            each.wait()


def sleepers(place: Place, asked: argparse.Namespace) -> None:
    """F2: runs that sleep."""
    many = asked.sleepers

    def size() -> int:
        connection = apsw.Connection(str(place.state))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
        return place.state.stat().st_size

    def asleep() -> int:
        connection = apsw.Connection(str(place.state), flags=apsw.SQLITE_OPEN_READONLY)
        (count,) = connection.execute("SELECT count(*) FROM run WHERE status = 'suspended'").fetchone()
        connection.close()
        return int(count)

    place.python("app.sleeper.enqueue(-1)")
    with place.worker() as process:
        time.sleep(3)
        alone = memory([process.pid, *children(process.pid)])
    empty = size()
    began = time.monotonic()
    with place.worker("--slots", "100"):
        place.python(f"for a in range(0, {many}, 1000): app.sleeper.enqueue_many([(n,) for n in range(a, a + 1000)])")
        while asleep() < many:
            time.sleep(0.5)
        took = time.monotonic() - began
    each = (size() - empty) / many
    began = time.monotonic()
    with place.worker() as process:
        ready = time.monotonic() - began
        pids = [process.pid, *children(process.pid)]
        time.sleep(3)
        before = cpu(pids)
        time.sleep(IDLE_S)
        idle = (cpu(pids) - before) / IDLE_S
        print(f"F2 {many:,} runs put to sleep, {many / took:,.0f}/s", flush=True)
        reach("F2", f"bytes of each of {many:,} sleeping runs, with its record", each, 600, "bytes")
        reach("F2", "memory of a worker beside one that has no runs", memory(pids) - alone, 10, "MB")
        reach("F2", "CPU of an idle worker, of a core", idle * 100, 0.2, "%")
        reach("F2", "ready, with the start of its two processes", ready, 1, "s")


def rush(place: Place, asked: argparse.Namespace) -> None:
    """F3: 10,000 runs are due within one second."""
    many = 10_000
    code = f"""
from datetime import datetime, timedelta, timezone
due = time.time() + 15
print(due, file=open(sys.argv[1], "w"))
for part in range(10):
    at = datetime.fromtimestamp(due + part / 10, timezone.utc)
    app.due.with_options(at=at).enqueue_many([(n,) for n in range(part * {many // 10}, (part + 1) * {many // 10})])
"""
    with place.worker():
        place.python(code, place.folder / "due")
        began = float((place.folder / "due").read_text())
        found = place.until("begun", many)
    at = sorted(float(line[1]) - began for line in found)
    reach("F3", "10,000 due in one second, 10 slots: the first", at[0] * 1e3, 100, "ms")
    reach("F3", "all of them", at[-1], 20, "s")
    reach("F3", "before they were due", sum(one < 0 for one in at), 0, "runs")


def ticks(place: Place, asked: argparse.Namespace) -> None:
    """F4: from when a tick is due to its run's code."""
    with place.worker(BENCH_TICKS="1"):
        found = [float(line[-1]) for line in place.until("tick", asked.ticks)]
    show("F4 tick due to run begun", found, None, 100)
    reach("F4", f"early, of {len(found)}", sum(one < 0 for one in found), 0, "runs")


def records(place: Place, asked: argparse.Namespace) -> None:
    """F8: a run with 10,000 records is woken."""
    code = "for n in range(5): app.listener.with_options(id=f'm{n}').enqueue(f'm{n}', 10_000, 1)"
    before = len(place.lines("waits"))
    with place.worker():
        place.python(code)
        place.until("waits", before + 5)
        time.sleep(3)
        show("F8 wake of a run with 10,000 records", ping(place, [f"m{n}" for n in range(5)], 1), 150, None)


def takeover(place: Place, asked: argparse.Namespace) -> None:
    """F9: a worker is killed, and another one goes on with its run."""
    times = []
    for n in range(asked.kills):
        place.env["PERDURE_CRASH_LIMIT"] = "100"
        before = len(place.lines("holds"))
        with place.worker("--slots", "1") as first:
            place.python(f"app.held.with_options(id='k{n}').enqueue({n})")
            place.until("holds", before + 1)
            with place.worker("--slots", "1"):
                pids = [*children(first.pid), first.pid]
                at = time.monotonic()
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                times.append(float(place.until("holds", before + 2)[-1][0]) - at)
                place.python(f"perdure.run('k{n}').cancel()")
    show("F9 worker killed to run taken over", times, None, 2_000)


CASES = {
    "signals": signals,
    "sleepers": sleepers,
    "rush": rush,
    "ticks": ticks,
    "records": records,
    "takeover": takeover,
}


def main(given: list[str] | None = None) -> None:
    """Print the figures of the cases that are asked for, each in a folder of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(CASES), help="cases, separated by commas")
    parser.add_argument("--sleepers", type=int, default=10_000)
    parser.add_argument("--ticks", type=int, default=60)
    parser.add_argument("--kills", type=int, default=10)
    asked = parser.parse_args(given)
    as_installed()
    print(", ".join(f"{name} {what}" for name, what in facts(Path(tempfile.gettempdir())).items()), file=sys.stderr)
    for name in asked.only.split(","):
        with tempfile.TemporaryDirectory(prefix="waking-", ignore_cleanup_errors=True) as folder:
            place = Place(folder)
            CASES[name](place, asked)
            print(f"   one commit meanwhile: {floor(place) * 1e3:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
