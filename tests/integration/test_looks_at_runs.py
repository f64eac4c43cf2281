"""What a workflow sees of other runs is part of its history."""

from __future__ import annotations

import pytest

import perdure
from conftest import Died, Machine
from perdure.errors import NotFound
from perdure.operations.fork import fork
from perdure.operations.location import locate


@perdure.workflow
def other(number: int) -> int:
    """What the workflow looks at."""
    perdure.publish("number", number)
    return number


@pytest.mark.parametrize("is_async", [False, True])
def test_a_resumed_workflow_sees_of_other_runs_what_it_saw(machine: Machine, is_async: bool) -> None:
    """The other run ends between two lives: status and what it published are as the first life had them."""
    died: list[str] = []
    seen: list[tuple[str, object]] = []

    @perdure.step
    def told(text: str) -> str:
        return text

    @perdure.step
    def last() -> None:
        if not died:
            died.append("once")
            raise Died

    def look(id: str) -> None:
        handle = perdure.run(id)
        try:
            number = handle.published("number")
        except NotFound:
            number = None
        seen.append((handle.status(), number))
        assert {one.status for one in perdure.runs(workflow="other")} == {seen[-1][0]}

    @perdure.workflow
    def flow(id: str) -> None:
        look(id)
        told(seen[-1][0])
        last()

    @perdure.workflow
    async def aflow(id: str) -> None:
        look(id)
        told(seen[-1][0])
        last()

    def run(id: str) -> None:
        if is_async:
            import asyncio

            asyncio.run(aflow(id))  # type: ignore[arg-type]
        else:
            flow(id)

    id = other.enqueue(7).id
    with pytest.raises(Died):
        run(id)
    machine.boot()
    (row,) = [one for one in machine.engine.store.runs() if one.id == id]
    from perdure.core.execution.identity import identify

    spec = other._spec
    machine.engine.run(identify(spec, (7,), {}), script=spec.file, resume=row.id)
    assert perdure.run(id).status() == "done"
    run(id)
    assert seen == [("queued", None)] * 2


def test_a_run_stands_as_its_fork_does(machine: Machine) -> None:
    """In a workflow as outside of one: the fork answers for the run that it was made of."""

    @perdure.step
    def fragile() -> int:
        raise ValueError("not yet")

    @perdure.workflow
    def forked() -> int:
        return fragile()

    @perdure.workflow
    def looks(id: str) -> str:
        return perdure.run(id).status()

    with pytest.raises(ValueError, match="not yet"):
        forked.with_options(id="source").start().result()
    assert looks.with_options(id="before").start("source").result() == "failed"
    store = machine.engine.store
    fork(locate(), store.run("source"), "fragile", 0.0)
    assert store.run("source").status == "failed"
    now = perdure.run("source").status()
    assert now != "failed", "its fork has not been executed"
    assert looks.with_options(id="after").start("source").result() == now
