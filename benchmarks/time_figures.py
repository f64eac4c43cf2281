"""All figures of waits, schedules and queues, as a table: `python3 dev.py time`, a quarter of an hour.

    python3 dev.py time --short     three minutes, to see that it works
    python3 dev.py time --peers     huey, procrastinate and DBOS beside, as in queue_rate.py

F1: from `signal` to the code that waited. F2: 100,000 runs that sleep. F3: 10,000 due in one second. F4: from a tick to
its run. F5: rate of a queue. F6: what `enqueue` costs. F7: what keys cost. F8: a run with 10,000 records is woken.
F9: a worker is killed. The machine has to be quiet: a figure measured beside other work says nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import queue_rate
import queues
import waking
from machine import facts
from reached import table


def main() -> None:
    """Measures one after the other, and prints the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a tenth of each")
    parser.add_argument("--peers", action="store_true", help="with huey, procrastinate and DBOS")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    sizes = (10_000, 20, 3, 1) if asked.short else (100_000, 120, 20, 5)
    sleepers, ticks, kills, rounds = map(str, sizes)
    waking.main(["--sleepers", sleepers, "--ticks", ticks, "--kills", kills])
    queues.main()
    queue_rate.main(["--rounds", rounds, *(["--peers"] if asked.peers else [])])
    print("\n" + ", ".join(f"{name} {what}" for name, what in facts(Path.cwd()).items()), end="")
    print(f"; synchronous=FULL; load {load:.1f} before it began\n\n{table()}")


if __name__ == "__main__":
    main()
