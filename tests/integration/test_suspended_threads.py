"""A run of several threads is left only when all of them wait, and none goes on meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from suspended import left, newest

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.engines.local.parking import Parking

ENTERED, TRIED = threading.Event(), threading.Event()
MADE: list[str] = []
LEAVES: list[int] = []
"""The thread that is to leave the run."""


@step(name="threads.work")
def work() -> None:
    MADE.append("work")
    ENTERED.set()
    TRIED.wait()


@workflow(name="threads.main")
def main() -> None:
    def go() -> None:
        perdure.wait_for("go")
        work()

    def end() -> None:
        LEAVES.append(threading.get_ident())
        perdure.wait_for("end")

    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(go), pool.submit(end)]:
            one.result()


def test_a_thread_that_goes_on_just_then_keeps_the_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signal comes between the look that finds all threads at rest and the run's being left: its step is made
    once, and the run is left after it."""
    rest, leave = Parking._threads_rest, Parking._leave
    ENTERED.clear()
    TRIED.clear()
    MADE.clear()
    LEAVES.clear()

    def rests(parking: Parking, root: Any) -> bool:
        found = threading.get_ident() in LEAVES and rest(parking, root)
        if found and not ENTERED.is_set():
            perdure.signal(root.id, "go")
            ENTERED.wait()
        return found

    def leaves(parking: Parking, root: Any, *more: Any) -> None:
        try:
            leave(parking, root, *more)
        finally:
            TRIED.set()

    monkeypatch.setattr(Parking, "_threads_rest", rests)
    monkeypatch.setattr(Parking, "_leave", leaves)
    left(main)
    assert MADE == ["work"]
    perdure.signal(newest(machine).id, "end")
    main()
    assert MADE == ["work"]
