"""Async steps that sync code has called in a loop of its own are undone with it, as any step is."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import suppress

import pytest

from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow
from perdure.store import dead_letters

done: list[str] = []
loops: list[asyncio.AbstractEventLoop] = []
way: list[str] = []


@pytest.fixture(autouse=True)
def nothing_is_done() -> None:
    done.clear()
    loops.clear()
    way.clear()


@step(name="unbook in a loop", retry=Retry(attempts=2, delay="1s", jitter=0), timeout="1m")
async def unbook(seat: str) -> None:
    loops.append(asyncio.get_running_loop())
    await asyncio.sleep(0)
    if "fails" in way:
        way.remove("fails")
        raise Trouble("closed")
    if "is interrupted" in way:
        way.remove("is interrupted")
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            done.append("broken off")
    done.append(f"unbook {seat}")


@step(name="book in a loop", undo=unbook)
async def book(seat: str) -> str:
    return seat


@step(name="close by itself", retry=None)
def close(door: str) -> None:
    async def closing() -> None:
        done.append(f"close {door}")

    asyncio.run(closing())


@step(name="open by itself", undo=close)
def opened(door: str) -> str:
    return door


@workflow(name="booking_child")
async def child(seat: str) -> str:
    return await book(seat)


@workflow(name="booking_trip")
def trip() -> None:
    async def both() -> None:
        await book("a")
        await child("b")

    asyncio.run(both())
    opened("front")
    asyncio.run(book("c"))
    raise Died if "is killed" in way else Trouble("no money")


ALL = ["unbook c", "close front", "unbook b", "unbook a"]


def letters(machine: Machine) -> int:
    return len(list(dead_letters.find(machine.engine.store, dead_letters.Filter())))


def test_a_run_that_fails_undoes_them_in_the_order_of_the_whole(machine: Machine) -> None:
    """Also what a child run has done; with the retries that the step has, and in one loop, which is closed then."""
    way.append("fails")
    with pytest.raises(Trouble, match="no money"):
        trip()
    assert (done, letters(machine)) == (ALL, 0)
    assert len(loops) == 4
    assert len(set(loops)) == 1
    assert loops[0].is_closed()


def test_one_that_takes_too_long_is_a_dead_letter(machine: Machine) -> None:
    """It is cancelled when its time is over."""

    @step(name="hang", retry=None, timeout="1ms")
    async def hang(seat: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            done.append("cancelled")

    @step(name="book late", undo=hang)
    async def booked() -> str:
        return "a"

    @workflow(name="hanging")
    def flow() -> None:
        asyncio.run(booked())
        raise Trouble("no money")

    with pytest.raises(Trouble) as failed:
        flow()
    assert (done, letters(machine)) == (["cancelled"], 1)
    assert "clean-up undo:hang has failed, and is a dead letter" in str(failed.value.__notes__)


def test_ctrl_c_breaks_one_off_and_the_next_life_undoes_the_rest(machine: Machine) -> None:
    """It is over when the interrupt comes out of the run."""
    way.append("is interrupted")
    with pytest.raises(KeyboardInterrupt):
        trip()
    assert done == ["broken off"]
    done.clear()
    machine.boot()
    with suppress(Trouble):
        trip()
    assert done[:4] == ALL


def test_a_killed_run_that_is_cancelled_undoes_sync_steps_that_run_a_loop_too(machine: Machine) -> None:
    """No loop of perdure's runs where a sync step is called."""
    way.append("is killed")
    with pytest.raises(Died):
        trip()
    machine.boot()
    assert machine.engine.call_off(machine.engine.store.runs()[0]) == []
    assert (done, letters(machine)) == (ALL, 0)
