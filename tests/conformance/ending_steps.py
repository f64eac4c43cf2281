"""What the tests of ends on a cluster share: steps that can be undone, and runs that are cancelled."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.conformance.bench import Bench, note

from perdure import Retry, step
from perdure.engines.selection import cluster_at
from perdure.errors import Cancelled
from perdure.store.cluster_snapshot import ListedRun

DEADLINES = ("1s", "3s", "12s", "60s")
"""Ever longer ones: how far a run gets until its time is over depends on the machine."""


LONG = Retry(attempts=5, delay="1h", cap="1h", jitter=0, total="9h")


@step(retry=None)
def close(what: str) -> None:
    note("close", what)


@step(retry=None, undo=close)
def make(what: str) -> str:
    note("make", what)
    return what


def cancel(bench: Bench, handle: Any, entered: threading.Semaphore, times: int = 1) -> None:
    """Cancel a run once that many of its steps are entered."""
    for _ in range(times):
        assert entered.acquire(timeout=60)
    engine = cluster_at(bench.engine)
    assert engine.cancel(handle.id).was == "running"


def is_cancelled(bench: Bench, handle: Any) -> bool:
    """Is the run cancelled, for its handle and for the cluster?"""
    with pytest.raises(Cancelled, match="was cancelled") as caught:
        handle.result(60)
    assert caught.value.__notes__[-1].endswith("a run of the same inputs starts anew")
    return cluster_at(bench.engine).status(handle.id) == "cancelled"


def listed(bench: Bench, handle: Any) -> list[ListedRun]:
    """What the cluster lists of a run and its children."""
    return [run for run in cluster_at(bench.engine).list_runs(handle.id) if run.id.startswith(handle.id)]
