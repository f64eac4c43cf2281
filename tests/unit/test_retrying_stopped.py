"""`@perdure.retry` never holds up what stops a program, a task, a step or a run."""

from __future__ import annotations

import asyncio
import functools

import pytest
from retried import WAYS, Clock, Flaky, aflaky, call, installed

from conftest import Machine
from perdure import Retry, step, workflow
from perdure.api import retry as retrying
from perdure.api.retry import retry
from perdure.errors import Drift


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return installed(monkeypatch)


class Both(Exception, SystemExit):
    """An error that also ends the program."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError(), Both()], ids=repr)
def test_what_stops_a_program_is_never_retried(way: str, error: BaseException) -> None:
    """Whatever the policy says."""
    flaky = Flaky(error)
    with pytest.raises((type(error), asyncio.CancelledError)):
        call(way, flaky, on=Exception)
    assert flaky.calls == 1


def test_a_cancelled_task_stops_waiting() -> None:
    """Cancellation during the wait between two tries."""
    waiting = asyncio.Event()

    class Slow(Clock):
        async def asleep(self, seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

    flaky = Flaky(OSError(), OSError())

    async def main() -> None:
        task = asyncio.create_task(retry(functools.partial(aflaky, flaky))())
        async with asyncio.timeout(120):
            await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    retrying.clock = Slow()
    asyncio.run(main())
    assert flaky.calls == 1


def test_inside_a_step(machine: Machine) -> None:
    """It has its own account; the step sees what comes out in the end, and its own policy goes on from there."""
    flaky = Flaky(*[OSError(f"no {n}") for n in range(3)])

    @retry(attempts=2, jitter=0)
    def fetch() -> int:
        return flaky()

    @step(retry=Retry(attempts=2, jitter=0))
    def fetching() -> int:
        return fetch()

    @workflow
    def wf() -> int:
        return fetching()

    assert wf() == 7
    assert flaky.calls == 4


def test_steps_inside_a_retried_function_are_not_stopped_from_stopping(machine: Machine) -> None:
    """What stops a run is no failure to be tried again."""
    calls = []

    @step(retry=None)
    def one(n: int) -> int:
        return n

    numbers = [1]

    @workflow
    def wf() -> None:
        @retry
        def body() -> None:
            calls.append(1)
            one(numbers[0])
            raise SystemExit

        body()

    with pytest.raises(SystemExit):
        wf()
    numbers[0] = 2
    machine.boot()
    with pytest.raises(Drift):
        wf()
    assert len(calls) == 2
