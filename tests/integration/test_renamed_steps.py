"""A step that was renamed between two runs is not made again by mistake: the run stops, and names both names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import Machine, Trouble
from perdure import defer, step, workflow
from perdure.core.execution.spec import spec_of
from perdure.engines import registry
from perdure.engines.local import engine as local
from perdure.errors import Drift

made: list[Any] = []
ran: list[int] = []


@pytest.fixture(autouse=True)
def no_steps_of_others() -> Iterator[None]:
    """What a test has defined is gone when the next begins."""
    made.clear()
    ran.clear()
    yield
    for each in made:
        registry.forget(spec_of(each))


def define(name: str) -> Any:
    """The step of a script, under a name. The function closes over nothing, since that would be among its inputs."""

    def body(n: int) -> int:
        ran.append(n)
        return n * 2

    made.append(step(body, name=name))
    return made[-1]


def hundredfold(n: int) -> int:
    """What a worker finds, which calls nothing."""
    return n * 100


def rename(machine: Machine, old: Any) -> None:
    """The script is edited: its old step is no longer defined."""
    registry.forget(spec_of(old))
    made.remove(old)
    machine.boot()


def flow(call: Callable[[], Any]) -> Any:
    """A workflow that fails after the call, until its second run."""
    failed = flows.setdefault("failed", [])

    @step(name="end", retry=None)
    def end() -> None:
        if not failed:
            failed.append(1)
            raise Trouble

    made.append(end)

    @workflow(name="wf")
    def wf() -> Any:
        result = call()
        end()
        return result

    return wf


flows: dict[str, list[int]] = {}


@pytest.mark.parametrize("kind", ["call", "map"])
def test_it_stops_with_both_names_and_the_way_out(machine: Machine, kind: str) -> None:
    """Nothing is executed again; with name= the run goes on, and with --accept-changes the call is new work."""
    flows.clear()
    price = define("price")

    def calling(one: Any) -> Callable[[], Any]:
        return (lambda: one(5)) if kind == "call" else (lambda: list(one.map([5, 6]).results))

    with pytest.raises(Trouble):
        flow(calling(price))()
    rename(machine, price)
    cost = define("cost")
    before = list(ran)
    with pytest.raises(Drift, match="'price' seems to be 'cost' now") as drift:
        flow(calling(cost))()
    assert '@step(name="price")' in drift.value.hint
    assert "--accept-changes" in drift.value.hint
    assert ran == before
    rename(machine, cost)
    kept = define("price")
    assert flow(calling(kept))() == (10 if kind == "call" else [10, 12])
    assert ran == before


@pytest.mark.parametrize("kind", ["call", "map"])
def test_it_stops_also_if_a_class_among_the_inputs_has_gained_a_field(machine: Machine, kind: str) -> None:
    """Two edits at once: the call is recognised by what was recorded of its inputs."""
    flows.clear()

    def life(name: str, *more: Any) -> Any:
        order = make_dataclass("Order", [("n", int), *more])
        order.__module__ = __name__

        def body(of: Any) -> int:
            ran.append(of.n)
            return int(of.n)

        body.__annotations__["of"] = order
        made.append(step(body, name=name))
        one = made[-1]
        return flow(lambda: one(order(5)) if kind == "call" else list(one.map([order(5), order(6)]).results))

    with pytest.raises(Trouble):
        life("price")()
    rename(machine, made[0])
    before = list(ran)
    with pytest.raises(Drift, match="'price' seems to be 'cost' now"):
        life("cost", ("vip", bool, False))()
    assert ran == before


def test_behind_other_new_work(machine: Machine) -> None:
    """A new step comes first, and executes; then the renamed one stops the run."""
    flows.clear()
    price = define("price")
    with pytest.raises(Trouble):
        flow(lambda: price(5))()
    rename(machine, price)
    cost, other = define("cost"), define("other")
    with pytest.raises(Drift, match="'price' seems to be 'cost' now"):
        flow(lambda: other(1) + cost(5))()
    assert ran == [5, 1]


def test_a_new_step_with_the_same_inputs_is_no_renamed_one(machine: Machine) -> None:
    """`check(order)` is put before `charge(order)`, which the script still has: it is executed."""
    flows.clear()
    price = define("price")
    with pytest.raises(Trouble):
        flow(lambda: price(5))()
    machine.boot()
    check = define("check")
    assert flow(lambda: (check(5), price(5)))() == (10, 10)
    assert ran == [5, 5]


def test_a_step_that_was_taken_out_is_no_renamed_one(machine: Machine) -> None:
    """Other inputs under another name: nothing says that they belong together."""
    flows.clear()
    price = define("price")
    with pytest.raises(Trouble):
        flow(lambda: price(5))()
    rename(machine, price)
    cost = define("cost")
    assert flow(lambda: cost(7))() == 14


def test_a_step_that_became_plain_is_no_renamed_workflow(machine: Machine) -> None:
    """A child workflow is called with the inputs that the step had: it is another kind of thing, and is executed."""
    flows.clear()
    load = define("load")
    with pytest.raises(Trouble):
        flow(lambda: load(5))()
    rename(machine, load)
    made.append(workflow(lambda n: n * 100, name="hundredfold"))
    hundredfold = made[-1]
    assert flow(lambda: hundredfold(5))() == 500


@pytest.mark.parametrize("how", ["child", "named", "enqueued", "enqueued under an id"])
def test_a_renamed_workflow_is_not_begun_again(machine: Machine, how: str) -> None:
    """However a workflow has begun it: the run stops with both names; under its old name, it is the run of before."""
    flows.clear()

    def begun(name: str) -> Callable[[], Any]:
        made.append(workflow(hundredfold, name=name))
        named = made[-1] if "id" not in how and how != "named" else made[-1].with_options(id="r")
        return (lambda: named.enqueue(5).id) if "enqueued" in how else (lambda: named(5))

    with pytest.raises(Trouble):
        flow(begun("mail"))()
    before = machine.runs()
    rename(machine, made[0])
    with pytest.raises(Drift, match="workflow 'mail' seems to be 'post' now") as drift:
        flow(begun("post"))()
    assert '@workflow(name="mail")' in drift.value.hint
    assert [each for each, _ in machine.runs()] == [each for each, _ in before]
    rename(machine, made[-2])
    assert flow(begun("mail"))()
    assert [each for each, _ in machine.runs()] == [each for each, _ in before]


def test_a_child_workflow_left_out_is_no_renamed_one(machine: Machine) -> None:
    """The script has it still, and calls another one with the same inputs."""
    flows.clear()
    made.append(workflow(lambda n: n * 100, name="hundredfold"))
    made.append(workflow(lambda n: n * 10, name="tenfold"))
    hundredfold, tenfold = made
    with pytest.raises(Trouble):
        flow(lambda: hundredfold(5))()
    machine.boot()
    assert flow(lambda: tenfold(5))() == 50


def test_a_renamed_workflow_is_pointed_out(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """A new run begins, and one line says which run is unfinished, and how to go on with it."""
    price = define("price")
    fails = [True]

    def body() -> int:
        if fails:
            raise Trouble
        return int(price(5))

    made.append(workflow(body, name="a_name_of_before"))
    with pytest.raises(Trouble):
        made[-1]()
    fails.clear()
    rename(machine, made[-1])
    made.append(workflow(body, name="a_name_of_now"))
    assert made[-1]() == 10
    said = capsys.readouterr().err
    assert "of workflow 'a_name_of_before' is unfinished, and the script has no 'a_name_of_before' any more" in said
    assert '@workflow(name="a_name_of_before")' in said


@pytest.mark.parametrize("moved", [True, False])
def test_a_deferred_step_that_was_moved_is_registered_once(machine: Machine, moved: bool, tmp_path: Path) -> None:
    """As long as the step is where it was as well, that of the other file is another one."""
    flows.clear()
    tidy = define("tidy")
    with pytest.raises(Trouble):
        flow(lambda: defer(tidy, 5))()
    machine.boot()
    if moved:
        rename(machine, tidy)
    there = tmp_path / "kept_steps.py"
    there.write_text("def body(n):\n    ran.append(n)\n")
    names: dict[str, Any] = {"ran": ran, "__name__": "kept_steps"}
    exec(compile(there.read_text(), str(there), "exec"), names)
    made.append(step(names["body"], name="tidy"))
    there_now = made[-1]
    flow(lambda: defer(there_now, 5))()
    assert ran == ([5] if moved else [5, 5])


def test_in_an_async_workflow(machine: Machine) -> None:
    """A renamed step that is called beside others."""
    fails = [True]
    local.engine_at(machine.state)

    def version(name: str) -> Any:
        async def body(n: int) -> int:
            ran.append(n)
            return n

        priced = step(body, name=name)

        async def end() -> None:
            if fails:
                raise Trouble

        ended = step(end, name="end", retry=None)
        made.extend([priced, ended])

        @workflow(name="awf")
        async def awf() -> list[int]:
            found = await asyncio.gather(priced(1), priced(2))
            await ended()
            return list(found)

        return awf

    with pytest.raises(Trouble):
        asyncio.run(version("price")())
    fails.clear()
    rename(machine, made[0])
    with pytest.raises(Drift, match="'price' seems to be 'cost' now"):
        asyncio.run(version("cost")())
    assert ran == [1, 2]
