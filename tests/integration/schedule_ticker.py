"""A process that advances the schedules of a state file through made-up seconds: `STATE FROM TO`."""

from __future__ import annotations

import sys
from pathlib import Path

from perdure.store.runs import Store
from perdure.store.schedule_clock import advance

if __name__ == "__main__":
    store = Store(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for now in range(int(sys.argv[2]), int(sys.argv[3]) + 1):
        advance(store, float(now))
    store.close()
