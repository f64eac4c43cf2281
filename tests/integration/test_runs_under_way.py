"""A run that is under way has a handle, and is not taken a second time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from three_steps import three_steps

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.errors import AlreadyRunning


def test_start_and_handle(machine: Machine) -> None:
    """start() gives a handle at once: id, status, and the result or the error."""
    trouble: list[BaseException] = [Trouble("no route")]
    nightly = three_steps(machine, trouble)
    failed = nightly.start("monday")
    with pytest.raises(Trouble, match="no route"):
        failed.result(60)
    assert failed.status() == "failed"
    trouble.clear()
    done = nightly.start("monday")
    assert done.id == failed.id, "it is the same run, resumed"
    assert done.result(60) == "third after second after first of monday"
    assert done.status() == "done"


def test_a_handle_is_awaitable(machine: Machine) -> None:
    """`await handle` waits for the run, sync or async."""
    nightly = three_steps(machine, [])

    @workflow
    async def other() -> int:
        return 7

    async def main() -> tuple[Any, Any]:
        return await nightly.start("monday"), await other.start()

    assert asyncio.run(main()) == ("third after second after first of monday", 7)


def test_one_at_a_time_in_a_process(machine: Machine) -> None:
    """A run that is under way cannot be called again, and `start` attaches to it; it goes on undisturbed."""
    from threading import Event

    entered, go = Event(), Event()

    @step
    def wait() -> int:
        entered.set()
        assert go.wait(60)
        return 1

    @workflow
    def busy() -> int:
        return wait()

    handle = busy.start()
    assert entered.wait(60)
    with pytest.raises(AlreadyRunning, match="already running in this process"):
        busy()
    again = busy.start()
    assert again.id == handle.id
    go.set()
    assert handle.result(60) == 1
    assert again.result(60) == 1
