"""Timeouts that really stop what takes too long, wherever it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import Any

import pytest

from conftest import Machine
from perdure import step, workflow
from perdure.engines.runtime import timeouts
from perdure.errors import StepTimeout

SHORT = "60ms"
AMPLE = "1h"
"""A timeout that does not matter."""
LONG = 120.0
"""Seconds until what a timeout failed to stop gives up by itself."""


def hang() -> None:
    """Block, as a call does that is never answered."""
    threading.Event().wait(LONG)
    raise AssertionError("it was not stopped")


async def ahang() -> None:
    """Wait for what never comes."""
    async with asyncio.timeout(LONG):
        await asyncio.Event().wait()


def ring() -> None:
    """Let the time of the step that is under way on the main thread be over now."""
    signal.raise_signal(signal.SIGALRM)


def expire(machine: Machine, count: int | None = None) -> None:
    """Let the time be over of the attempts that have been in pool threads for longest, so many of them or all."""
    monitor = machine.engine.resources.pool.monitor
    for ticket in list(monitor._tickets.values())[:count]:
        ticket.deadline = 0.0
    monitor._next = 0.0
    monitor._wake.set()


def run(fn: Any, **options: Any) -> Any:
    """Call a function as the only step of a workflow."""
    work = step(fn, name="work", retry=None, **options)
    if work._spec.is_async:

        @workflow(name="wf")
        async def awf() -> Any:
            return await work()

        return asyncio.run(awf())

    @workflow(name="wf")
    def wf() -> Any:
        return work()

    return wf()


def test_async_code_is_cancelled(machine: Machine) -> None:
    """It sees the cancellation, and its clean-up runs."""

    async def work() -> None:
        try:
            await ahang()
        finally:
            machine.ran.append("cleaned up")

    with pytest.raises(StepTimeout, match="step 'work' did not finish within 60 ms"):
        run(work, timeout=SHORT)
    assert machine.ran == ["cleaned up"]


def test_a_coroutine_that_swallows_the_cancellation_has_timed_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it returns late does not count; and one that goes on regardless is closed."""
    monkeypatch.setattr(timeouts, "GRACE", 0.05)

    async def late() -> str:
        with suppress(asyncio.CancelledError):
            await ahang()
        return "late"

    async def stubborn() -> None:
        while True:
            try:
                await ahang()
            except asyncio.CancelledError:
                continue

    for fn in (late, stubborn):
        with pytest.raises(StepTimeout):
            run(fn, timeout=SHORT)


def test_cancelling_from_outside_is_no_timeout(machine: Machine) -> None:
    """A workflow that is cancelled is cancelled, even with a timeout running."""

    @step(timeout=AMPLE)
    async def work() -> None:
        patience.reschedule(0)  # whoever waits for the workflow does so no longer
        await ahang()

    @workflow
    async def wf() -> None:
        await work()

    async def main() -> None:
        nonlocal patience
        async with asyncio.timeout(None) as patience:
            await wf()

    patience: Any = None

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(main())
    assert not isinstance(caught.value, StepTimeout)


def test_sync_code_on_the_main_thread_is_interrupted(machine: Machine) -> None:
    """Also inside a blocking system call."""
    reading, writing = os.pipe()
    try:
        with pytest.raises(StepTimeout):
            run(lambda: os.read(reading, 1), timeout=SHORT)
    finally:
        os.close(reading)
        os.close(writing)


def test_an_interruption_that_is_swallowed_counts_all_the_same(machine: Machine) -> None:
    """`except Exception` does not see it; even `except BaseException` does not make the attempt a success."""

    def tolerant() -> str:
        try:
            hang()
        except Exception:
            return "swallowed"
        return "went on"

    def greedy() -> str:
        try:
            hang()
        except BaseException:
            return "swallowed"
        return "went on"

    for fn in (tolerant, greedy):
        with pytest.raises(StepTimeout):
            run(fn, timeout=SHORT)


def test_the_programs_own_alarm_is_kept(machine: Machine) -> None:
    """A timer and its handler that the script has set are there after the step, with what is left of its time."""
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 3600)
        with pytest.raises(StepTimeout):
            run(hang, timeout=SHORT)
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 3600 - LONG < left <= 3600 - 0.06
        ring()
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_alarm_is_left_behind(machine: Machine) -> None:
    """After a step that was in time nothing rings."""
    assert run(lambda: 1, timeout=AMPLE) == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_pool_thread_is_abandoned_and_its_late_result_discarded(machine: Machine) -> None:
    """The batch goes on without it; when it comes back, nobody listens."""
    entered, release, came_back = threading.Event(), threading.Event(), threading.Event()

    @step(retry=None, timeout=AMPLE)
    def work(n: int) -> int:
        if n == 0:
            entered.set()
            release.wait(LONG)
            came_back.set()
        if n == 1:
            assert entered.wait(LONG)  # no later item begins before it
        if n == 4:
            expire(machine, 1)
        return n

    @workflow
    def wf() -> Any:
        batch = work.map(range(5), concurrency=2)
        return [list(batch.results), [letter.error for letter in batch.dead]]

    results, dead = wf()
    assert results == [1, 2, 3, 4]
    assert len(dead) == 1
    assert dead[0].startswith("StepTimeout: step 'work' did not finish within 1 h")
    release.set()
    assert came_back.wait(60)
    assert sorted(machine.steps()) == [("work", "dead"), *[("work", "done")] * 4]


def test_a_workflow_in_a_thread_keeps_its_timeouts(machine: Machine) -> None:
    """start() runs it beside the main thread, where no signal interrupts: the stuck attempt is left behind."""
    release = threading.Event()

    @step(retry=None, timeout=SHORT)
    def work() -> None:
        release.wait(LONG)

    @workflow
    def wf() -> None:
        work()

    with pytest.raises(StepTimeout):
        wf.start().result(60)
    release.set()


def test_a_timeout_is_tried_again(machine: Machine) -> None:
    """It may heal: the policy's attempts apply."""

    @step(timeout=AMPLE)
    def work() -> str:
        machine.ran.append(1)
        if len(machine.ran) < 3:
            ring()
        return "well"

    @workflow
    def wf() -> str:
        return work()

    assert wf() == "well"
    assert len(machine.ran) == 3


def test_a_stop_at_the_moment_of_a_timeout_is_not_a_cancellation_from_outside() -> None:
    """The run is stopped for its own reason while its time runs out: its task is left without a cancellation."""

    class Stop(BaseException):
        """As what stops a run."""

    async def stopped() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Stop from None

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        with suppress(Stop):
            await timeouts.bounded(stopped(), 0.001, "flow")
        return task.cancelling()

    assert asyncio.run(main()) == 0
