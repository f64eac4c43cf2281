"""The turn of calls that were in flight at a crash: one begins at a time, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure.core.execution.effects import Execute
from perdure.engines.local import suspect_turn
from perdure.engines.local.suspect_turn import SuspectTurn

CALL: Any = None


def test_the_second_thread_begins_when_the_first_has_ended() -> None:
    """Until then it waits."""
    turn, first, second = SuspectTurn(), Execute(CALL, 1, alone=3600.0), Execute(CALL, 2, alone=3600.0)
    turn.take(first)
    begun = threading.Event()
    thread = threading.Thread(target=lambda: (turn.take(second), begun.set()), daemon=True)
    thread.start()
    turn.leave(second)  # it does not have the turn: nothing happens
    assert not begun.is_set()
    turn.leave(first)
    thread.join()
    assert begun.is_set()


def test_the_turn_of_a_thread_passes_on_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that has come past its crashes lets the next one begin, which it may wait for."""
    now = 0.0
    monkeypatch.setattr(suspect_turn, "steady", lambda: now)
    turn, first, second = SuspectTurn(), Execute(CALL, 1, alone=5.0), Execute(CALL, 2, alone=5.0)
    turn.take(first)
    now = 5.0
    turn.take(second)
    turn.leave(first)  # does not end the turn of the second
    assert turn._holder is second


def test_tasks_that_wait_for_each_other_end() -> None:
    """The first of two suspects ends only when the second has: the order is that of the turn, and both end."""

    async def main() -> list[str]:
        turn, done, order = SuspectTurn(), asyncio.Event(), []

        async def first() -> None:
            async with turn.in_loop(0.0):
                order.append("first")
                await done.wait()

        async def second() -> None:
            async with turn.in_loop(3600.0):
                order.append("second")
                done.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())
        return order

    assert asyncio.run(main()) == ["first", "second"]


def test_tasks_begin_one_after_the_other() -> None:
    """One that keeps the turn to its end is alone until then."""

    async def main() -> list[str]:
        turn, order = SuspectTurn(), []

        async def one(name: str) -> None:
            async with turn.in_loop(3600.0):
                order.append(f"{name} begins")
                await asyncio.sleep(0)
                order.append(f"{name} ends")

        async with asyncio.TaskGroup() as group:
            group.create_task(one("a"))
            group.create_task(one("b"))
        return order

    assert asyncio.run(main()) == ["a begins", "a ends", "b begins", "b ends"]
