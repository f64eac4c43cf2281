"""Locks between the threads, tasks and runs of one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from lock_scripts import BLOCK, Started, said, started

from conftest import Machine, Scripts
from perdure import step, workflow
from perdure.api.lock import lock
from perdure.errors import AlreadyRunning, LockLost, Skipped
from waiting import until


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Started]:
    yield from started(tmp_path)


@pytest.fixture
def here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose blocks are in the same state file."""
    monkeypatch.setenv("PERDURE_STATE", str(machine.state))
    return machine


def in_thread(function: Callable[[], object]) -> list[object]:
    """What it returned or raised, in a thread of its own."""
    found: list[object] = []

    def work() -> None:
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    return found


def take(**options: Any) -> int:
    with lock("nightly", **options) as held:
        return held.fence


def test_threads_keep_each_other_out(here: Machine) -> None:
    """Unlike runs: a block is a mutex. The thread that has it may take it again."""
    with lock("nightly") as held:
        assert take() == held.fence
        (refused,) = in_thread(take)
        assert isinstance(refused, AlreadyRunning)
        assert "taken by this process" in str(refused)
        (late,) = in_thread(lambda: take(if_locked="wait", timeout=0.05))
        assert isinstance(late, AlreadyRunning)
        held.confirm()
    assert in_thread(take) == [held.fence + 1]


def test_a_thread_waits_for_another(here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """And has it as soon as that one has left."""
    entered: list[int] = []
    with lock("nightly"):
        thread = threading.Thread(target=lambda: entered.append(take(if_locked="wait")))
        thread.start()
        until(lambda: "waiting" in capsys.readouterr().err)
        assert entered == []
    thread.join(60)
    assert entered == [2]


def test_tasks_keep_each_other_out_and_the_loop_goes_on(here: Machine) -> None:
    """One task at a time is inside; while one waits, the others go on."""
    inside = most = turns = 0

    async def work() -> None:
        nonlocal inside, most
        async with lock("nightly", if_locked="wait"):
            inside += 1
            most = max(most, inside)
            leaves = turns + 20
            while turns < leaves:
                await asyncio.sleep(0)
            inside -= 1

    async def main() -> int:
        nonlocal turns
        tasks = [asyncio.create_task(work()) for _ in range(5)]
        while not all(task.done() for task in tasks):
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(main()) >= 5 * 20
    assert most == 1


def test_in_steps_and_workflows(here: Machine) -> None:
    """A block inside of a run comes through the run's own lock; one of another thread does not; nothing is skipped."""
    seen: list[object] = []

    @step(retry=None)
    def work() -> None:
        with lock("nightly") as held:
            seen.append(held.fence)
        seen.extend(in_thread(take))

    @workflow(lock="nightly")
    def nightly() -> None:
        with lock("nightly"):
            work()

    @workflow
    def parent() -> None:
        nightly()

    parent()
    assert seen[0] == 2
    assert isinstance(seen[1], AlreadyRunning)
    assert take() == 3


def test_skip_inside_of_a_run_fails_it(here: Machine) -> None:
    """There is nothing to skip to, and a run that failed must not end with exit code 0."""

    @step(retry=None)
    def work() -> None:
        in_other_thread = threading.Event(), threading.Event()

        def hold() -> None:
            with lock("nightly"):
                in_other_thread[0].set()
                in_other_thread[1].wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        in_other_thread[0].wait(60)
        try:
            take(if_locked="skip")
        finally:
            in_other_thread[1].set()
            thread.join(60)

    @workflow
    def nightly() -> None:
        work()

    with pytest.raises(AlreadyRunning) as caught:
        nightly()
    assert not isinstance(caught.value, Skipped)


def test_a_workflow_called_in_a_block_comes_through(here: Machine) -> None:
    """And one of another thread does not."""

    @workflow(lock="nightly")
    def nightly(name: str) -> str:
        return name

    with lock("nightly"):
        assert nightly("inside") == "inside"
        (refused,) = in_thread(lambda: nightly("outside"))
        assert isinstance(refused, AlreadyRunning)
    assert nightly("outside") == "outside"


def test_an_async_workflow_waits_without_stopping_the_loop(machine: Machine, scripts: Scripts) -> None:
    """Other tasks go on while it waits for another process."""
    machine.world.asleep = lambda seconds: asyncio.sleep(0)  # type: ignore[method-assign]
    block = scripts.write(BLOCK, "block.py")
    holder = scripts.start(block, "fail", PERDURE_STATE=str(machine.state))
    assert said(holder) == "entered 1"

    @workflow(lock="nightly", if_locked="wait")
    async def nightly() -> str:
        return "done"

    async def main() -> tuple[int, str]:
        task = asyncio.create_task(nightly())
        turns = 0
        while not task.done():
            turns += 1
            if turns == 100:
                holder.stdin.write("\n")
                holder.stdin.flush()
            await asyncio.sleep(0)
        return turns, await task

    turns, result = asyncio.run(main())
    assert (turns >= 100, result) == (True, "done")
    holder.communicate()


def test_an_error_in_a_block_is_not_hidden_by_the_loss_of_its_lock(here: Machine) -> None:
    """The user's error comes first, with a note; without one, LockLost is raised."""

    def lose() -> None:
        store = here.engine.store

        def take_over(connection: apsw.Connection) -> None:
            for name, *_ in connection.execute("SELECT name FROM lock").fetchall():
                store.locks._take(connection, name, 5.0, None)

        store.journal.write((), take_over)

    def fail() -> None:
        with lock("nightly"):
            lose()
            raise ZeroDivisionError

    def go_on() -> None:
        with lock("other") as held:
            lose()
            with pytest.raises(LockLost):
                held.confirm()

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert "lock-lost" in caught.value.__notes__[0]
    with pytest.raises(LockLost):
        go_on()
