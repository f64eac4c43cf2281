"""What `waking.py` measures: workflows that write down when their code runs, by a clock that all processes share."""

from __future__ import annotations

import os
import time
from datetime import datetime

import perdure

LEDGER = os.environ["BENCH_LEDGER"]


def note(*what: object) -> None:
    """One line, in one write: several processes do."""
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, (" ".join(map(str, (time.monotonic(), time.time(), os.getpid(), *what))) + "\n").encode())
    os.close(ledger)


@perdure.step
def record(n: int) -> int:
    """One of the records that are there at a wake."""
    return n


@perdure.workflow
def listener(name: str, records: int, times: int) -> None:
    """Waits for signals, behind so many records."""
    for n in range(records):
        record(n)
    for _ in range(times):
        note("waits", name)
        sent = perdure.wait_for("ping", type=float)
        note("woken", name, time.monotonic() - sent)


@perdure.workflow
def sleeper(n: int) -> None:
    """Sleeps for longer than anybody measures."""
    perdure.sleep("30d")


@perdure.workflow
def due(n: int) -> None:
    """Begins when its time has come."""
    note("begun", n)


@perdure.step
def hold(n: int) -> None:
    """A step whose process is killed."""
    note("holds", n)
    time.sleep(3600)


@perdure.workflow
def held(n: int) -> None:
    """Is taken over."""
    hold(n)


if os.environ.get("BENCH_TICKS"):

    @perdure.workflow(schedule="* * * * * *", tz="UTC", overlap="allow")
    def ticking() -> None:
        """Begins every second."""
        tick = perdure.tick()
        assert tick is not None
        note("tick", time.time() - tick.due.timestamp())


if os.environ.get("BENCH_BUSY"):

    @perdure.workflow
    def busy(n: int) -> None:
        """Writes all the time."""
        until = datetime.now().timestamp() + float(os.environ["BENCH_BUSY"])
        while time.time() < until:
            record(n)
            n += 1
