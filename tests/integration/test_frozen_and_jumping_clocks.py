"""A clock that stands still hangs no wait, and one that jumps uses up nothing of a step's time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from conftest import FakeWorld, Machine, Trouble
from perdure import Retry, retry, step, workflow
from perdure.core.execution.effects import Report
from perdure.core.policies.breaker import BreakerPolicy
from perdure.core.policies.guard import Guard, Hold, Pass
from perdure.engines.guards import Guards
from perdure.engines.local import engine as engines

SOON = Retry(attempts=3, delay="20ms", factor=1, jitter=0)


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state file of its own, real waits, and clocks of Python that stand still, as with freezegun."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    moments = {name: getattr(time, name)() for name in ("time", "monotonic", "perf_counter")}
    with mock.patch.multiple(time, **{name: lambda moment=moment: moment for name, moment in moments.items()}):
        yield
    engines.close_all()


@pytest.mark.usefixtures("frozen")
def test_a_frozen_clock_hangs_no_retry() -> None:
    """A step's, an async step's, one in a pool thread's, and that of a plain function under @retry."""
    tries: list[str] = []

    def fail_twice(who: str) -> str:
        tries.append(who)
        if tries.count(who) < 3:
            raise Trouble
        return who

    plain = step(fail_twice, name="plain", retry=SOON)

    @step(retry=SOON)
    async def coroutine(who: str) -> str:
        return fail_twice(who)

    @workflow
    def sync() -> list[str]:
        return [plain("step"), *plain.map(["item", "other"], concurrency=2).results]

    @workflow
    async def on_loop() -> str:
        return await coroutine("async step")

    assert sync() == ["step", "item", "other"]
    assert asyncio.run(on_loop()) == "async step"
    assert retry(SOON)(fail_twice)("function") == "function"
    assert len(tries) == 15


@pytest.mark.parametrize("hours", [24, -24])
def test_setting_the_time_of_day_uses_up_no_time(machine: Machine, hours: int) -> None:
    """`total` and the length of an attempt go by a clock that only grows."""
    world = machine.world
    world.clock = lambda: sum(world.slept)  # type: ignore[method-assign]

    @step(retry=Retry(attempts=3, delay="10s", factor=1, jitter=0, total="25s"))
    def flaky() -> str:
        machine.ran.append(1)
        world.time += hours * 3600
        if len(machine.ran) < 3:
            raise Trouble
        return "well"

    @workflow
    def wf() -> str:
        return flaky()

    assert wf() == "well"
    assert world.slept == [10, 10]
    (record,) = machine.engine.store.all_records(1)
    assert record.ms == 0


def test_what_was_slept_counts_where_every_clock_stands_still(machine: Machine) -> None:
    """Also a world whose clock never moves comes to the end of a wait, slice by slice."""

    class Stopped(FakeWorld):
        slice = 0.25

        def clock(self) -> float:
            return 5.0

    world = machine.world = Stopped()
    machine.boot()

    @step(retry=Retry(attempts=2, delay="1s", jitter=0))
    def flaky() -> str:
        machine.ran.append(1)
        if len(machine.ran) < 2:
            raise Trouble
        return "well"

    @workflow
    def wf() -> str:
        return flaky()

    assert wf() == "well"
    assert world.slept == [0.25] * 4


@pytest.mark.parametrize("held_by", ["breaker", "pause"])
def test_a_clock_set_back_does_not_hold_calls_up_for_longer(tmp_path: Path, held_by: str) -> None:
    """The cool-down of an open breaker, or the pause that a service has asked for, is over when its time is."""
    world = FakeWorld()
    guards = Guards(tmp_path / "state.db", world)
    guard = Guard("bank", BreakerPolicy(failures=1, cooldown=2.0))
    admitted = guards.admit(guard)
    assert isinstance(admitted, Pass)
    if held_by == "breaker":
        guards.report(Report(guard, admitted.ticket, "failure", "down"))
    else:
        guards.report(Report(guard, admitted.ticket, "throttled", "slow down", pause=2.0))
    world.time -= 7_200
    hold = guards.admit(guard)
    assert isinstance(hold, Hold)
    assert 0 < hold.seconds <= 2.0
    world.time += hold.seconds + 0.001
    assert isinstance(guards.admit(guard), Pass)
    guards.close()
