"""What is deferred is called at the end of the run, however it ends, and hides no error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from clean_up_steps import steps

from conftest import Machine, Trouble
from perdure import Retry, defer, defer_every_end, step, workflow
from perdure.errors import OptionError, UsageError


def test_deferred_calls_run_last_in_first_out_when_the_run_succeeds(machine: Machine) -> None:
    """They run after the workflow's function has returned, and before the caller has the result."""
    make, close, work = steps(machine)

    @workflow
    def flow() -> str:
        defer(close, make("a"))
        defer(close, make("b"))
        work("well")
        machine.ran.append("returns")
        return "result"

    assert flow() == "result"
    assert machine.ran == ["make a", "make b", "work well", "returns", "close b", "close a"]
    assert machine.runs() == [("flow", "done")]


def test_at_every_end_they_run_when_the_run_fails_and_again_when_it_is_resumed(machine: Machine) -> None:
    """The run's own error is what the caller sees; the completed steps keep their results on resume."""
    make, close, work = steps(machine)
    ends = ["fail", "well"]

    @step(name="note", key=lambda: "note")
    def note() -> str:
        return "noted"

    @workflow
    def flow() -> str:
        defer_every_end(close, make("a"))
        note()
        attempt()
        return "done"

    @step(name="attempt", retry=None)
    def attempt() -> None:
        work._spec.fn(ends[0])

    with pytest.raises(Trouble, match="no luck"):
        flow()
    assert machine.ran == ["make a", "work fail", "close a"]
    ends.pop(0)
    machine.ran.clear()
    machine.boot()
    assert flow() == "done"
    assert machine.ran == ["work well", "close a"]


def test_a_failing_clean_up_is_retried_parked_and_hides_nothing(machine: Machine) -> None:
    """The run's error comes first; the clean-up that cannot be done is a dead letter; the others are made."""

    @step(name="close", retry=Retry(attempts=3))
    def close(what: str) -> None:
        machine.ran.append(f"close {what}")
        if what == "bad":
            raise Trouble("cannot close")

    @step(name="work", retry=None)
    def work() -> None:
        raise Trouble("no luck")

    @workflow
    def flow() -> None:
        defer_every_end(close, "good")
        defer_every_end(close, "bad")
        work()

    with pytest.raises(Trouble, match="no luck") as caught:
        flow()
    assert machine.ran == ["close bad"] * 3 + ["close good"]
    assert any("defer:close has failed" in note for note in caught.value.__notes__)
    assert machine.steps() == [
        ("perdure.defer_every_end", "done"),
        ("perdure.defer_every_end", "done"),
        ("defer:close", "dead"),
        ("defer:close", "done"),
    ]


def test_async_workflows_clean_up_as_well(machine: Machine) -> None:
    """With sync and async steps mixed."""

    @step(name="close")
    async def close(what: str) -> None:
        await asyncio.sleep(0)
        machine.ran.append(f"close {what}")

    @step(name="drop")
    def drop(what: str) -> None:
        machine.ran.append(f"drop {what}")

    @step(name="make", undo=drop)
    async def make(what: str) -> str:
        return what

    @workflow
    async def flow() -> None:
        await asyncio.gather(make("a"), make("b"))
        defer_every_end(close, "c")
        defer_every_end(drop, "d")
        raise Trouble("no luck")

    with pytest.raises(Trouble):
        asyncio.run(flow())
    assert machine.ran[:2] == ["drop d", "close c"]
    assert sorted(machine.ran[2:]) == ["drop a", "drop b"]


def test_defer_says_where_it_belongs(machine: Machine) -> None:
    """Outside a workflow, in a step, without a step, or with an async step in a sync workflow it is a clear error."""
    _, close, _ = steps(machine)

    @step(name="late")
    async def late() -> None:
        pass

    @step(name="inner", retry=None)
    def inner() -> None:
        defer(close, "x")

    @workflow
    def flow(what: Any) -> None:
        if what == "step":
            inner()
        elif what == "async":
            defer(late)
        else:
            defer(print, "x")

    with pytest.raises(UsageError, match="outside a workflow"):
        defer(close, "x")
    with pytest.raises(UsageError, match="outside a workflow"):
        flow("step")
    with pytest.raises(UsageError, match="is async"):
        flow("async")
    with pytest.raises(OptionError, match="not a step"):
        flow("no step")
    with pytest.raises(OptionError, match="not a step"):
        step(undo=print)(lambda: None)
