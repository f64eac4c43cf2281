"""perdure: a queue of empty workflows, executed by `perdure worker` as it comes (WAL, synchronous=FULL)."""

from __future__ import annotations

import os
import sys

from queue_ledger import done, folder

os.environ.setdefault("PERDURE_STATE", str(folder() / "state.db"))

from perdure import Queue, workflow

KEYS = int(os.environ.get("BENCH_KEYS") or 0)

if KEYS:
    Queue("bench", per_key=1)


@workflow
def empty(number: int) -> None:
    done(number)


def main() -> None:
    what, *numbers = sys.argv[1:]
    if what == "fill":
        (most,) = map(int, numbers)
        for key in range(KEYS or 1):
            queued = empty.with_options(queue="bench", key=f"k{key}" if KEYS else None)
            queued.enqueue_many([(number,) for number in range(key, most, KEYS or 1)])
        return
    slots, processes = numbers
    worker = ["-m", "perdure", "worker", __file__, "--slots", slots, "--processes", processes]
    os.execv(sys.executable, [sys.executable, *worker])


if __name__ == "__main__":
    main()
