"""A run of several threads is left only when all of them wait, and none goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from asyncio import gather, to_thread
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from suspended import left, newest

import perdure
from conftest import FakeWorld, Machine
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


@step(name="threads.note")
def note(n: int) -> int:
    MADE.append(f"note {n}")
    return n


async def in_a_thread() -> None:
    """The loop waits for a thread that waits."""
    await to_thread(perdure.wait_for, "go")


async def in_both() -> None:
    """A thread waits, and a task."""
    await gather(to_thread(perdure.wait_for, "go"), perdure.aio.wait_for("go", key="task"), to_thread(note, 1))


async def in_loops_on_threads() -> None:
    """Two threads run a loop each."""
    waits = [lambda: asyncio.run(perdure.aio.wait_for("go")), lambda: asyncio.run(in_both())]
    await gather(*map(to_thread, waits))


@pytest.mark.parametrize("on_thread", [False, True])
@pytest.mark.parametrize("waits", [in_a_thread, in_both, in_loops_on_threads])
def test_a_run_that_only_waits_beside_a_loop_of_its_own_is_left(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, waits: Callable[[], Awaitable[None]], on_thread: bool
) -> None:
    """It takes up no process, and its steps are not made again when it goes on."""
    monkeypatch.setattr(FakeWorld, "arest", lambda world, ear, seconds: ear.await_ring(0.01))
    MADE.clear()

    async def race() -> None:
        await to_thread(note, 0)
        await waits()

    @workflow(name="threads.loops")
    def flow() -> int:
        if on_thread:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(lambda: asyncio.run(race())).result()
        else:
            asyncio.run(race())
        return note(2)

    left(flow)
    made = list(MADE)
    run = newest(machine).id
    for key in ("", "", "task"):
        perdure.signal(run, "go", key=key)
    assert flow() == 2
    assert [*made, "note 2"] == MADE


def test_a_timer_in_such_a_loop_keeps_the_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that sleeps goes on by itself, however often it is seen that all else waits."""
    rest, looks = Parking._threads_rest, []

    def rests(parking: Parking, root: Any) -> bool:
        looks.append(rest(parking, root))
        if len(looks) == 20:
            perdure.signal(root.id, "go")
        return looks[-1]

    async def race() -> None:
        sleeps = asyncio.create_task(asyncio.sleep(3600))
        await to_thread(perdure.wait_for, "go")
        sleeps.cancel()

    @workflow(name="threads.timer")
    def flow() -> None:
        asyncio.run(race())

    monkeypatch.setattr(Parking, "_threads_rest", rests)
    flow()
    assert len(looks) >= 20
    assert not any(looks)
