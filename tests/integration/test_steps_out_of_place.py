"""Steps and workflows that are called where their results would not be saved, or could be taken for others."""

from __future__ import annotations

import pytest

import perdure
from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.errors import DuplicateStep, UsageError


def test_outside_a_workflow_a_step_is_the_plain_function(machine: Machine) -> None:
    """No state file, no retry, no context."""

    @step(retry=Retry(attempts=3))
    def bad() -> None:
        machine.ran.append(1)
        raise Trouble

    with pytest.raises(Trouble):
        bad()
    assert machine.ran == [1]
    with pytest.raises(UsageError, match="outside a step"):
        perdure.idempotency_key()
    with pytest.raises(UsageError, match="outside a workflow"):
        bad.map([])  # type: ignore[misc]


def test_a_step_inside_a_step_is_plain(machine: Machine) -> None:
    """Only the outer one is recorded; and it executes the inner one each time."""

    @step
    def inner(n: int) -> int:
        machine.ran.append(n)
        return n + 1

    @step
    def outer(n: int) -> int:
        return inner(inner(n))

    @workflow
    def wf() -> int:
        return outer(1)

    assert wf() == 3
    assert machine.ran == [1, 2]
    assert machine.steps() == [("outer", "done")]


def test_a_workflow_inside_a_step_is_refused(machine: Machine) -> None:
    """It could not be resumed; the error names both, and is not tried again."""

    @workflow
    def inner() -> None: ...

    @step
    def outer() -> None:
        machine.ran.append(1)
        inner()

    @workflow
    def wf() -> None:
        outer()

    with pytest.raises(UsageError, match="'inner' is called inside step 'outer'"):
        wf()
    assert machine.ran == [1]


def test_two_functions_under_one_name_are_refused(machine: Machine) -> None:
    """Their results could be taken for each other's."""
    one = step(lambda n: n, name="same")
    other = step(lambda n: n + 1, name="same")

    @workflow
    def wf() -> None:
        one(1)
        other(1)

    with pytest.raises(DuplicateStep, match="'same'"):
        wf()
