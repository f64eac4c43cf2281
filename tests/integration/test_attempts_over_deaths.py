"""Attempts are counted over deaths, bounded in time, and listed with the user's own error."""

from __future__ import annotations

import asyncio

import pytest
from fragile_steps import Declined

from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow


def test_the_users_error_comes_first_with_the_attempts_as_notes(machine: Machine) -> None:
    """The exception that ends the run is the step's own; its notes list every attempt and how to go on."""

    @step(retry=Retry(attempts=3, jitter=0))
    def bad() -> None:
        machine.ran.append(1)
        raise Declined(402, f"try {len(machine.ran)}")

    @workflow
    def wf() -> None:
        bad()

    with pytest.raises(Declined) as caught:
        wf()
    assert caught.value.args == ("declined: try 3",)
    assert caught.value.__cause__ is None
    notes = "\n".join(caught.value.__notes__)
    for part in ("step 'bad' failed 3 times", "declined: try 1", "declined: try 2", "run wf-0000000001 failed"):
        assert part in notes
    assert machine.world.slept == [1, 2]


def test_permanent_errors_are_not_tried_again(machine: Machine) -> None:
    """A TypeError is a bug: one attempt."""

    @step
    def bad() -> None:
        machine.ran.append(1)
        raise TypeError("a bug")

    @workflow
    def wf() -> None:
        bad()

    with pytest.raises(TypeError):
        wf()
    assert machine.ran == [1]
    assert machine.world.slept == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_attempts_survive_a_death(machine: Machine, asynchronous: bool) -> None:
    """Two attempts before the death leave two of four for afterwards; the numbers go on."""
    import perdure

    def attempt() -> None:
        machine.ran.append(perdure.attempt())
        if len(machine.ran) == 3:
            raise Died
        raise Trouble(f"attempt {perdure.attempt()}")

    if asynchronous:

        @step(retry=Retry(attempts=4, jitter=0))
        async def bad() -> None:
            attempt()

        @workflow
        async def wf() -> None:
            await bad()

        def run() -> None:
            asyncio.run(wf())
    else:
        bad_too = step(attempt, name="bad", retry=Retry(attempts=4, jitter=0))

        @workflow(name="wf")
        def run() -> None:
            bad_too()

    with pytest.raises(Died):
        run()
    machine.boot()
    with pytest.raises(Trouble, match="attempt 4"):
        run()
    assert machine.ran == [1, 2, 3, 3, 4]


def test_a_failed_run_has_all_its_attempts_again(machine: Machine) -> None:
    """Running it again is asking again."""
    fixed = [False]

    @step(retry=Retry(attempts=3, jitter=0))
    def bad() -> str:
        machine.ran.append(1)
        if not fixed[0] or len(machine.ran) < 6:
            raise Trouble
        return "well"

    @workflow
    def wf() -> str:
        return bad()

    with pytest.raises(Trouble):
        wf()
    fixed[0] = True
    machine.boot()
    assert wf() == "well"
    assert len(machine.ran) == 6


def test_the_total_bound_ends_the_attempts(machine: Machine) -> None:
    """No try begins later than `total` after the first."""

    @step(retry=Retry(attempts=100, delay="10s", factor=1, jitter=0, total="35s"))
    def bad() -> None:
        machine.ran.append(1)
        raise Trouble

    @workflow
    def wf() -> None:
        bad()

    with pytest.raises(Trouble) as caught:
        wf()
    assert machine.world.slept == [10, 10, 10]
    assert "no time left" in "\n".join(caught.value.__notes__)
