"""Arguments and results are kept as they are, or refused on the first run."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.errors import ArgumentChanged, NotStorable


@dataclass
class Point:
    x: float
    tags: tuple[str, ...]


def test_both_runs_see_the_value_that_was_saved(machine: Machine) -> None:
    """Type and content are the same, also if the step keeps and changes what it returned."""
    broken, seen = [True], []
    kept: list[Any] = []

    @step
    def work() -> list[Any]:
        kept.append([1, (2, "x"), {3: b"y"}, {4}, float("inf"), 2**70, None, True])
        return kept[-1]

    @step
    def point() -> Point:
        return Point(0.1, ("a",))

    @step(retry=None)
    def end() -> None:
        if broken[0]:
            raise Trouble

    @workflow
    def wf() -> None:
        value = work()
        kept[-1].append("changed by the step")
        seen.append((repr(value), repr(point())))
        value.append("changed by the workflow")
        end()

    with pytest.raises(Trouble):
        wf()
    broken[0] = False
    machine.boot()
    wf()
    assert seen[0] == seen[1]
    assert "changed" not in seen[0][0]


@pytest.mark.parametrize(
    "value", [object(), lambda: 1, open, {"deep": [object()]}], ids=["object", "function", "io", "deep"]
)
def test_what_cannot_be_stored_is_refused_on_the_first_run(machine: Machine, value: Any) -> None:
    """As a result and as an argument; the error names the step, and is not tried again."""

    @step
    def gives() -> Any:
        machine.ran.append("gives")
        return value

    @step
    def takes(value: Any) -> None:
        machine.ran.append("takes")

    @workflow
    def result() -> None:
        gives()

    @workflow
    def argument() -> None:
        takes(value)

    with pytest.raises(NotStorable, match=r"step '.*gives'"):
        result()
    with pytest.raises(NotStorable, match=r"step '.*takes'"):
        argument()
    assert machine.ran == ["gives"]


def test_a_coroutine_that_was_not_awaited_is_refused(machine: Machine) -> None:
    """A step that returns a coroutine did nothing: it must not pass for done, nor complain when it is deleted."""

    async def send() -> None: ...

    work = step(lambda: send(), name="work")

    @workflow
    def wf() -> None:
        work()

    with pytest.raises(NotStorable, match="never awaited"):
        wf()
    gc.collect()


def test_a_step_that_changes_its_argument_is_refused(machine: Machine) -> None:
    """A resumed run would not see the change: on the first run it is an error, not on resume."""

    @step
    def add(items: list[int]) -> None:
        items.append(1)

    @workflow
    def wf() -> list[int]:
        items = [1]
        add(items)
        return items

    with pytest.raises(ArgumentChanged, match="'add'"):
        wf()
