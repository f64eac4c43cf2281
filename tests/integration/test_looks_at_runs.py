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


def test_a_run_that_was_not_there_yet_is_not_there_for_a_resumed_workflow(machine: Machine) -> None:
    """It is made between two lives: the workflow goes on with what it did without it."""
    died: list[str] = []
    seen: list[str] = []

    @perdure.step
    def done_without(found: str) -> None:
        pass

    @perdure.step
    def last() -> None:
        if not died:
            died.append("once")
            raise Died

    @perdure.workflow
    def flow() -> None:
        try:
            seen.append(perdure.run("other").id)
        except NotFound:
            seen.append("none")
        done_without(seen[-1])
        last()

    with pytest.raises(Died):
        flow()
    machine.boot()
    other.with_options(id="other").enqueue(7)
    flow()
    assert seen == ["none"] * 2
    assert perdure.run("other").status() == "queued"


def test_a_run_is_cancelled_once_by_a_workflow(machine: Machine) -> None:
    """The answer of the first life counts, and a later life does not cancel what was given the id since."""
    died: list[str] = []
    seen: list[str] = []

    @perdure.step
    def told(outcome: str) -> None:
        if not died:
            died.append("once")
            raise Died

    @perdure.workflow
    def flow(id: str) -> None:
        seen.append(perdure.run(id).cancel().outcome)
        told(seen[-1])

    id = other.enqueue(7).id
    with pytest.raises(Died):
        flow(id)
    machine.boot()
    flow(id)
    assert seen == ["ended"] * 2
    assert perdure.run(id).cancel().outcome == "none"


def test_a_resumed_workflow_sees_a_breaker_as_it_was(machine: Machine) -> None:
    """Also what it has done with it is not done again: a breaker that was closed since stays closed."""
    died: list[str] = []
    seen: list[str] = []
    shop = perdure.Breaker("shop")

    @perdure.step
    def told(state: str) -> None:
        if not died:
            died.append("once")
            raise Died

    @perdure.workflow
    def flow() -> None:
        seen.append(shop.state)
        shop.isolate()
        told(seen[-1])

    @perdure.workflow
    def closes() -> str:
        before = shop.state
        shop.reset()
        return before

    with pytest.raises(Died):
        flow()
    machine.boot()
    assert closes() == "isolated"
    flow()
    assert seen == ["closed"] * 2
    assert machine.engine.resources.guards.services.about("shop")["breaker"].mode == "closed"  # type: ignore[union-attr]
