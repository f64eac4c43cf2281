"""A workflow's timeout bounds everything in it: attempts, waits between them, and the code between the steps."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from test_timeouts import expire

from conftest import Machine, Trouble
from perdure import Retry, defer, step, workflow
from perdure.errors import DeadlineExceeded, OptionError, StepTimeout
from waiting import until


def real(machine: Machine) -> None:
    """Let the machine have a clock that moves by itself."""
    from perdure.engines.local import LocalEngine, engine

    engine.close_all()
    engine._engines[machine.state] = LocalEngine(machine.state)


def test_waits_between_attempts_are_bounded(machine: Machine) -> None:
    """No wait goes on beyond the deadline, and no attempt begins after it."""
    tried: list[float] = []

    @step(name="flaky", retry=Retry(attempts=100, delay="10s", factor=1, jitter=0, total="1h"))
    def flaky() -> None:
        tried.append(machine.world.time)
        raise Trouble("again")

    @workflow(timeout="35s")
    def flow() -> None:
        flaky()

    began = machine.world.time
    with pytest.raises(DeadlineExceeded, match="within 35 s"):
        flow()
    assert machine.world.time - began == 35
    assert len(tried) == 4
    assert machine.runs() == [("flow", "failed")]


def test_a_run_that_failed_has_its_time_anew(machine: Machine) -> None:
    """It goes on with what it has; otherwise a run that failed yesterday could never be finished."""
    made: list[int] = []

    @step(name="work")
    def work(n: int) -> int:
        made.append(n)
        machine.world.time += 20
        return n

    @workflow(timeout="50s")
    def flow() -> int:
        return sum(work(n) for n in range(4))

    with pytest.raises(DeadlineExceeded):
        flow()
    assert made == [0, 1, 2]
    machine.boot()
    assert flow() == 6
    assert made == [0, 1, 2, 3]


def test_it_is_no_error_that_the_workflow_can_swallow(machine: Machine) -> None:
    """`except Exception` around a step does not let the run go on after its time."""
    made: list[int] = []

    @step(name="work", retry=None)
    def work(n: int) -> None:
        made.append(n)
        machine.world.time += 20

    @workflow(timeout="10s")
    def flow() -> str:
        for n in range(3):
            try:
                work(n)
            except Exception:
                made.append(-1)
        return "done"

    with pytest.raises(DeadlineExceeded):
        flow()
    assert made == [0]


def test_children_are_bound_by_their_parents(machine: Machine) -> None:
    """A child without a timeout of its own, or with a longer one, ends with its parent's time."""

    @step(name="work", retry=None)
    def work(n: int) -> None:
        machine.world.time += 20

    @workflow(timeout="1h")
    def inner() -> None:
        for n in range(5):
            work(n)

    @workflow(timeout="50s")
    def outer() -> None:
        inner()

    with pytest.raises(DeadlineExceeded, match="workflow 'outer'"):
        outer()
    assert machine.runs() == [("outer", "failed"), ("inner", "failed")]


def test_deferred_calls_wait_for_the_final_end_of_a_run_that_was_too_slow(machine: Machine) -> None:
    """The time of a run is over: it has failed, and what it deferred is kept for the run that goes on."""
    closed: list[str] = []

    @step(name="close")
    def close(what: str) -> None:
        machine.world.time += 100
        closed.append(what)

    @step(name="work", retry=None)
    def work() -> None:
        machine.world.time += 20

    @workflow(timeout="10s")
    def flow() -> None:
        defer(close, "a")
        defer(close, "b")
        work()
        work()

    with pytest.raises(DeadlineExceeded):
        flow()
    assert closed == []


def test_a_step_that_hangs_is_interrupted_at_the_deadline(machine: Machine) -> None:
    """On the main thread, in a blocking call; the step's own timeout is much longer."""
    real(machine)

    @step(name="hang", timeout="1h")
    def hang() -> None:
        threading.Event().wait()

    @workflow(timeout="200ms")
    def flow() -> None:
        hang()

    with pytest.raises(DeadlineExceeded):
        flow()


def test_the_code_between_steps_is_interrupted(machine: Machine) -> None:
    """The workflow itself blocks; its `finally` runs; timers of the program's own are as before."""
    real(machine)
    put_away: list[str] = []

    @step(name="quick")
    def quick(n: int) -> int:
        return n

    @workflow(timeout="300ms")
    def flow() -> None:
        try:
            for n in range(10):
                quick(n)
            threading.Event().wait()
        finally:
            put_away.append("yes")

    with pytest.raises(DeadlineExceeded):
        flow()
    assert put_away == ["yes"]
    assert machine.engine.store.run(machine.engine.store.runs()[0].id).status == "failed"


def test_maps_are_bounded(machine: Machine) -> None:
    """Items in pool threads that hang are left behind; none of them becomes a dead letter because of the deadline."""
    release = threading.Event()

    @step(name="item", retry=None)
    def item(n: int) -> int:
        if n == 2:
            until(lambda: [status for _, status in machine.steps()] == ["done", "done"], "the end of the others")
            machine.world.time += 20
            expire(machine)
        if n > 1:
            release.wait()
        return n

    @workflow(timeout="10s")
    def flow() -> None:
        item.map(range(4), concurrency=4)

    with pytest.raises(DeadlineExceeded):
        flow()
    release.set()
    assert sorted(machine.steps()) == [("item", "done"), ("item", "done")]


def test_async_workflows_are_bounded(machine: Machine) -> None:
    """In a step, in a wait between attempts, and in an await of the workflow's own."""
    real(machine)

    @step(name="hang", timeout="1h")
    async def hang() -> None:
        await asyncio.Event().wait()

    @step(name="flaky", retry=Retry(delay="50s"))
    async def flaky() -> None:
        raise Trouble

    @workflow(timeout="150ms")
    async def flow(where: str) -> None:
        if where == "step":
            await hang()
        elif where == "wait":
            await asyncio.gather(flaky(), asyncio.Event().wait())
        else:
            await asyncio.Event().wait()

    for where in ("step", "wait", "own"):
        with pytest.raises(DeadlineExceeded):
            asyncio.run(flow(where))
    assert {status for _, status in machine.runs()} == {"failed"}


def test_a_step_that_is_late_by_itself_is_only_that(machine: Machine) -> None:
    """Before the deadline a step's own timeout is an ordinary failure."""
    real(machine)

    @step(name="hang", timeout="20ms", retry=None)
    def hang() -> None:
        threading.Event().wait()

    @workflow(timeout="1h")
    def flow() -> str:
        try:
            hang()
        except StepTimeout:
            return "caught"
        return "not"

    assert flow() == "caught"


@pytest.mark.parametrize("timeout", [0, -1, "soon", True])
def test_a_bad_timeout_is_refused(timeout: Any) -> None:
    """When the workflow is defined."""
    with pytest.raises(OptionError):
        workflow(timeout=timeout)(lambda: None)


def test_the_time_of_day_may_jump(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline is measured on a clock that nobody can set."""
    real(machine)
    monkeypatch.setattr(machine.engine.world, "now", lambda: time.time() + 1e6)

    @step(name="work")
    def work() -> int:
        return 1

    @workflow(timeout="10s")
    def flow() -> int:
        return work() + work()

    assert flow() == 2
