"""Steps that the tests of clean-ups share."""

from __future__ import annotations

from typing import Any

from conftest import Died, Machine, Trouble
from perdure import step


def steps(machine: Machine) -> tuple[Any, Any, Any]:
    """A step that makes something, one that puts it away, and one that ends as its input says."""

    @step(name="make")
    def make(what: str) -> str:
        machine.ran.append(f"make {what}")
        return what

    @step(name="close")
    def close(what: str) -> None:
        machine.ran.append(f"close {what}")

    @step(name="work", retry=None)
    def work(ends: str) -> None:
        machine.ran.append(f"work {ends}")
        if ends == "fail":
            raise Trouble("no luck")
        if ends == "die":
            raise Died

    return make, close, work
