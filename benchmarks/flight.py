"""What the flight recorder and the watchdog cost: `python benchmarks/flight.py`, with perdure installed."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path

from perdure.alerts.watchdog import client
from perdure.alerts.watchdog.client import Settings, Watchdog
from perdure.store.flight_recorder import Recorder

CALLS = 200_000
STARTS = 21


def step_ns(recorder: Recorder) -> float:
    """Nanoseconds for the beginning and the end of an attempt together, the best of seven."""
    key = os.urandom(16)

    def one() -> None:
        recorder.end(recorder.begin("nightly-0123456789", "charge", key, 0, 1, 1.8e9))

    return min(timeit.repeat(one, number=CALLS, repeat=7)) / CALLS * 1e9


def began_ms(folder: Path) -> float:
    """Milliseconds that the first run of a process waits for its watchdog process to be started, the median."""
    taken = []
    for number in range(STARTS):
        recorder = Recorder(folder / "flight", f"1-{number}")
        watchdog = Watchdog(Settings(folder / "state.db"), recorder)
        start = time.perf_counter()
        watchdog.began("nightly-1", "nightly", ("exec:/bin/true",))
        taken.append((time.perf_counter() - start) * 1e3)
        watchdog.ended("nightly-1")
        recorder.close()
        watchdog.close()
        time.sleep(0.05)  # until it has started and ended: the next is to be measured alone
    return statistics.median(taken)


def watchdog_process(folder: Path) -> tuple[float, float]:
    """Milliseconds until a watchdog process is ready to watch, the median; and the memory it holds then, in MB."""
    code = "import sys; sys.path.append(sys.argv.pop(1)); import process; print('ready', flush=True); process.main()"
    place = str(Path(client.__file__).parent)
    taken, resident = [], 0.0
    for _ in range(STARTS):
        reading, writing = os.pipe()
        words = [sys.executable, "-I", "-S", "-c", code, place, str(reading), "-1", str(os.getpid()), "", "", "x"]
        start = time.perf_counter()
        process = subprocess.Popen(words, pass_fds=(reading,), stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        taken.append((time.perf_counter() - start) * 1e3)
        os.write(writing, b"began 1 0 0 {}\n")
        time.sleep(0.05)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        resident = int(status.split("VmHWM:")[1].split()[0]) / 1000
        process.kill()
        process.communicate()
        os.close(reading)
        os.close(writing)
    return statistics.median(taken), resident


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorder = Recorder(folder / "flight", "1-a")
        print(f"begin and end of an attempt   {step_ns(recorder):8.0f} ns")
        recorder.close()
        print(f"starting the watchdog process {began_ms(folder):8.1f} ms of the run's time")
        ready, resident = watchdog_process(folder)
        print(f"until it watches              {ready:8.1f} ms, beside the run")
        print(f"resident memory of it         {resident:8.1f} MB at most")


if __name__ == "__main__":
    main()
