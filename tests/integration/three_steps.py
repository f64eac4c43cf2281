"""A workflow of three steps, which the tests of runs share."""

from __future__ import annotations

from typing import Any

from conftest import Machine
from perdure import step, workflow


def three_steps(machine: Machine, trouble: list[BaseException]) -> Any:
    """A workflow of three steps; the second raises what `trouble` holds."""

    @step(retry=None)
    def first(day: str) -> str:
        machine.ran.append("first")
        return f"first of {day}"

    @step(retry=None)
    def second(text: str) -> str:
        machine.ran.append("second")
        if trouble:
            raise trouble[0]
        return f"second after {text}"

    @step
    def third(text: str) -> str:
        machine.ran.append("third")
        return f"third after {text}"

    @workflow
    def nightly(day: str, count: int = 1) -> str:
        return third(second(first(day)))

    return nightly
