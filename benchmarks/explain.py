"""How fast a run is explained: `python benchmarks/explain.py`, with perdure and its extra `mcp` installed.

`perdure diagnose` and `perdure why` of a run of 10,000 steps are compared with reading its records and doing nothing
with them, in the same process and by turns; `perdure mcp`, until it has answered the first message, with a bare
`python -c pass`, as processes and by turns.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

STEPS = 10_000
ROUNDS = 7

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "0"}},
}


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["PERDURE_STATE"] = str(Path(place) / "state.db")
        os.environ["PERDURE_QUIET"] = "1"
        _of_a_run()
        _of_the_server()


def _of_a_run() -> None:
    from perdure import step, workflow
    from perdure.engines.local.engine import close_at, engine_at
    from perdure.operations.diagnose import diagnose
    from perdure.operations.location import Location
    from perdure.operations.why import explain

    @step(name="bench-explained", retry=None)
    def work(number: int) -> dict[str, str]:
        return {"status": "fine"}

    @workflow(name="bench-explained-flow")
    def flow() -> None:
        for number in range(STEPS):
            work(number)

    path = Path(os.environ["PERDURE_STATE"])
    store = engine_at(path).store
    # What is measured is reading: 10,000 flushes are minutes on a slow disk.
    store.journal.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
    flow()
    run = store.runs()[0]
    location = Location(path, "a benchmark")

    def read() -> None:
        first = 0
        while chunk := store.records(run.rid, first):
            first = chunk[-1].seq + 1

    works: dict[str, Callable[[], object]] = {
        "reading them": read,
        "diagnose": lambda: diagnose(store, run, location),
        "why": lambda: explain(store, run, location),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work_of in works.items():
            start = time.process_time()
            work_of()
            taken[name].append(time.process_time() - start)
    for name, seconds in taken.items():
        ratio = statistics.median(one / other for one, other in zip(seconds, taken["reading them"], strict=True))
        print(f"{STEPS:,} steps, {name}: {statistics.median(seconds) * 1e3:.0f} ms of CPU, {ratio:.1f} times reading")
    close_at(path)


def _of_the_server() -> None:
    hello = json.dumps(HELLO) + "\n"
    bare, served, used = [], [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.perf_counter() - start)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "perdure", "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(hello)
        process.stdin.flush()
        answer = process.stdout.readline()
        served.append(time.perf_counter() - start)
        assert '"serverInfo"' in answer, answer
        process.communicate()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    ratio = statistics.median(one / other for one, other in zip(served, bare, strict=True))
    print(
        f"perdure mcp until its first answer: {statistics.median(served) * 1e3:.0f} ms, "
        f"{statistics.median(used) * 1e3:.0f} ms of CPU until it ended; {ratio:.0f} times python -c pass"
    )


if __name__ == "__main__":
    main()
