"""What the workflow made of a failure: handled failures are replayed, the one that ended the run is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow


class Declined(Exception):
    """A user's own error, with more in it than its message."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"declined: {reason}")
        self.code = code
        self.reason = reason


def failing(machine: Machine, error: Callable[[], Exception] = Trouble) -> Any:
    """A step that fails the first time it is executed, and would succeed ever after."""

    @step(retry=None)
    def fragile(n: int = 0) -> str:
        machine.ran.append(f"fragile {n}")
        if machine.ran.count(f"fragile {n}") == 1:
            raise error()
        return "well"

    return fragile


def dying(machine: Machine) -> Any:
    """A step in which the process dies the first time."""

    @step
    def death() -> None:
        machine.ran.append("death")
        if machine.ran.count("death") == 1:
            raise Died

    return death


def test_a_handled_failure_is_replayed(machine: Machine) -> None:
    """The except clause is taken on resume as on the first run, with an error of the same class and content."""
    fragile, death = failing(machine, lambda: Declined(402, "no funds")), dying(machine)
    seen: list[Any] = []

    @step
    def fallback(reason: str) -> str:
        machine.ran.append("fallback")
        return f"instead: {reason}"

    @workflow
    def wf() -> str:
        try:
            result = fragile()
        except Declined as error:
            seen.append((type(error), error.args, str(error), error.code, error.reason))
            result = fallback(error.reason)
        death()
        return result

    with pytest.raises(Died):
        wf()
    machine.boot()
    assert wf() == "instead: no funds"
    assert seen[0] == seen[1] == (Declined, ("declined: no funds",), "declined: no funds", 402, "no funds")
    assert machine.ran == ["fragile 0", "fallback", "death", "death"]


def test_a_failure_that_ends_the_run_is_not_history(machine: Machine) -> None:
    """The step that failed the run is executed again by the next one."""
    fragile = failing(machine)

    @workflow
    def wf() -> str:
        return fragile()

    with pytest.raises(Trouble):
        wf()
    assert machine.steps() == []
    machine.boot()
    assert wf() == "well"


@pytest.mark.parametrize("how", ["raise from", "while handling", "after further steps", "in a group"])
def test_a_failure_that_ends_the_run_in_another_coat(machine: Machine, how: str) -> None:
    """Raised from, raised while handling, raised again after clean-up, in an exception group: it is tried again."""
    fragile = failing(machine)

    @step
    def clean_up() -> None:
        machine.ran.append("clean up")

    @workflow
    def wf() -> str:
        try:
            return fragile()
        except Trouble as error:
            clean_up()
            if how == "raise from":
                raise RuntimeError("wrapped") from error
            if how == "while handling":
                raise RuntimeError("wrapped")  # noqa: B904
            if how == "in a group":
                raise ExceptionGroup("several", [error]) from None
            raise

    with pytest.raises(Exception):  # noqa: B017, PT011
        wf()
    machine.boot()
    assert wf() == "well"
    assert machine.ran == ["fragile 0", "clean up", "fragile 0"]


def test_a_failure_taken_for_handled_is_tried_again_in_the_same_process(machine: Machine) -> None:
    """Clean-up after a failure makes it history; a death before the failure ends the run must not make it final."""
    fragile, death = failing(machine), dying(machine)

    @workflow
    def wf() -> str:
        try:
            return fragile()
        except Trouble:
            death()
            raise

    with pytest.raises(Died):
        wf()
    assert machine.steps() == [("fragile", "failed")]
    machine.boot()
    assert wf() == "well"
    assert machine.steps() == [("death", "done"), ("fragile", "done")]


def test_a_failure_in_a_branch_whose_sibling_goes_on(machine: Machine) -> None:
    """One branch of a gather fails the run, the other makes further calls: only the failure is tried again."""

    @step(retry=None)
    async def fragile() -> str:
        machine.ran.append("fragile")
        if machine.ran.count("fragile") == 1:
            raise Trouble
        return "well"

    @step
    async def one(n: int) -> int:
        machine.ran.append(n)
        return n

    async def sibling() -> None:
        for n in range(5):
            await one(n)

    @workflow
    async def wf() -> str:
        result, _ = await asyncio.gather(fragile(), sibling())
        return result

    with pytest.raises(Trouble):
        asyncio.run(wf())
    machine.boot()
    assert asyncio.run(wf()) == "well"
    assert sorted(map(str, machine.ran)) == ["0", "1", "2", "3", "4", "fragile", "fragile"]


def test_several_handled_failures(machine: Machine) -> None:
    """Each call has its own failure."""
    fragile, death = failing(machine, lambda: Declined(402, "no")), dying(machine)

    @workflow
    def wf() -> list[str]:
        results = []
        for n in range(3):
            try:
                results.append(fragile(n))
            except Declined as error:
                results.append(error.reason)
        death()
        return results

    with pytest.raises(Died):
        wf()
    machine.boot()
    assert wf() == ["no", "no", "no"]
    assert machine.ran == ["fragile 0", "fragile 1", "fragile 2", "death", "death"]


def test_a_handled_child_is_replayed(machine: Machine) -> None:
    """A child run that failed and was handled is not entered again."""
    fragile, death = failing(machine, lambda: Declined(402, "no")), dying(machine)

    @workflow
    def inner() -> str:
        return fragile()

    @workflow
    def outer() -> str:
        try:
            result = inner()
        except Declined as error:
            result = error.reason
        death()
        return result

    with pytest.raises(Died):
        outer()
    machine.boot()
    assert outer() == "no"
    assert machine.ran == ["fragile 0", "death", "death"]


def test_the_users_error_comes_first_with_the_attempts_as_notes(machine: Machine) -> None:
    """The exception that ends the run is the step's own; its notes tell of every attempt and of the way on."""

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


def test_errors_that_cannot_heal_are_not_tried_again(machine: Machine) -> None:
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
