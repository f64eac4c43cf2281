"""Steps that fail or die the first time, which the tests of failures share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conftest import Died, Machine, Trouble
from perdure import step


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
