"""What every peer's worker shares: a count of the work really done, the memory it took, and the one line it reports.

Standard library only: this runs in every peer's virtual environment.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

FLEET = 100
"""Workflows that run side by side in w2."""

ASYNC_IN_FLIGHT = 1000
"""Items in flight in w3, asyncio."""

THREADS_IN_FLIGHT = 64
"""Items in flight in w3, threads."""

_calls = itertools.count()


def small(i: int) -> int:
    """The body of every step: counts that it was executed, and returns something small."""
    next(_calls)
    return i % 100


def state_folder() -> Path:
    """The fresh folder that the runner made for this measurement."""
    return Path(os.environ["BENCH_STATE"])


def report(**facts: float) -> NoReturn:
    """Tells the runner what was measured, and leaves without waiting for anybody's background threads."""
    print(json.dumps({"calls": next(_calls), **facts}), flush=True)
    os._exit(0)


def report_last_step() -> NoReturn:
    """Tells the runner at which moment the last step of a resumed workflow was done."""
    report(at=time.monotonic())


def die() -> NoReturn:
    """SIGKILL to this very process: nothing of it gets to clean up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive after SIGKILL")


def must_die() -> bool:
    """Whether this process is the one that is killed before its last step."""
    return "BENCH_DIE" in os.environ


class Clock:
    """Time of a stretch of steps: as a whole, and the median of the single step."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def facts(self, seconds: float) -> dict[str, float]:
        """The facts to report for a stretch that took so many seconds."""
        if len(self.stamps) < 2:
            return {"seconds": seconds}
        import statistics  # 10 ms, which a resume should not pay

        median = statistics.median(b - a for a, b in itertools.pairwise(self.stamps))
        return {"seconds": seconds, "median_step": median}


class Growth:
    """By how many MB the peak of resident memory grew over what was resident at the start."""

    def __init__(self) -> None:
        gc.collect()
        with contextlib.suppress(OSError):  # Linux: 5 resets the high-water mark to what is resident now
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _resident("VmRSS:")

    def megabytes(self) -> float:
        """Growth so far."""
        return _resident("VmHWM:") - self._before


def _resident(field: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux: only the peak since the start of the process is known
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
