"""A single step that is parked returns None, on the first run and on resume, and its result once it is redriven."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from letter_steps import broken, effect, keys, mail, redrive, reset

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.store import dead_letters


@pytest.fixture(autouse=True)
def _fresh() -> None:
    reset()


def test_a_single_step_parks_and_gives_none(machine: Machine) -> None:
    """The call returns None, on the first run and on resume; re-driven, it returns the result on resume."""
    stops = [True]

    @workflow(name="single")
    def single() -> list[Any]:
        got = [mail("a"), mail("b")]
        if stops:
            raise Trouble("later")
        return got

    broken.add("a")
    with pytest.raises(Trouble):
        single()
    machine.boot()
    with pytest.raises(Trouble):
        single()
    assert [item for item, _, _ in keys] == ["a", "b"]
    broken.clear()
    assert redrive(machine, 1)[0].seen
    stops.clear()
    machine.boot()
    assert single() == ["mailed a", "mailed b"]


def test_a_single_step_on_an_event_loop(machine: Machine) -> None:
    """The same for async code; the redrive of an async step awaits it."""

    @step(name="amail", retry=None, on_failure="dead_letter")
    async def amail(to: str) -> str:
        effect(to)
        return f"mailed {to}"

    @workflow(name="asingle")
    async def asingle() -> str | None:
        return await amail("a")

    broken.add("a")
    assert asyncio.run(asingle()) is None
    broken.clear()
    (result,) = redrive(machine, 1, specs={"amail": amail._spec})
    assert result.status == "resolved"


def test_where_nothing_is_parked_any_more_the_call_is_made_again(machine: Machine) -> None:
    """The option was taken away between two runs: the failure would end the run, so the step gets its chance."""
    stops = [True]

    @workflow(name="retired")
    def retired(step_: str) -> Any:
        got = mail("a") if stops else plain("a")
        if stops:
            raise ZeroDivisionError
        return got

    @step(name="mail", retry=None)
    def plain(to: str) -> str:
        return "plain"

    broken.add("a")
    with pytest.raises(ZeroDivisionError):
        retired("x")
    stops.clear()
    machine.boot()
    assert retired("x") == "plain"
    assert dead_letters.totals(machine.engine.store) == {"superseded": 1}
