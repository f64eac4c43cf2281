"""A run that stopped goes on where it stopped; a finished one is finished."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow
from perdure.errors import AlreadyRunning, DuplicateStep, OptionError, OtherInputs, UsageError


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


@pytest.mark.parametrize("trouble", [Trouble("no route"), Died(), KeyboardInterrupt()])
def test_goes_on_at_the_step_that_stopped_it(machine: Machine, trouble: BaseException) -> None:
    """After a failure, a death or Ctrl-C, what was done is not done again, in this process or the next."""
    troubles = [trouble]
    nightly = three_steps(machine, troubles)
    for _ in range(2):
        with pytest.raises(type(trouble)):
            nightly("monday")
        machine.boot()
    troubles.clear()
    assert nightly("monday") == "third after second after first of monday"
    assert machine.ran == ["first", "second", "second", "second", "third"]
    assert machine.runs() == [("nightly", "done")]


def test_a_finished_run_is_finished(machine: Machine) -> None:
    """The same call again is a new run."""
    nightly = three_steps(machine, [])
    assert nightly("monday") == nightly("monday")
    assert machine.ran == ["first", "second", "third"] * 2
    assert machine.runs() == [("nightly", "done")] * 2


def test_other_arguments_are_another_run(machine: Machine) -> None:
    """An unfinished run is resumed by its own arguments only; keywords and defaults do not make them other ones."""
    trouble: list[BaseException] = [Trouble()]
    nightly = three_steps(machine, trouble)
    for day in ("monday", "tuesday"):
        with pytest.raises(Trouble):
            nightly(day)
    trouble.clear()
    machine.ran.clear()
    nightly(count=1, day="monday")
    assert machine.ran == ["second", "third"]
    assert machine.runs() == [("nightly", "done"), ("nightly", "failed")]


def test_an_id_is_one_run_for_ever(machine: Machine) -> None:
    """Under an id there is one run: its result is returned without executing anything, in a later process too."""
    nightly = three_steps(machine, [])
    named = nightly.with_options(id="nightly-1")
    result = named("monday")
    machine.boot()
    assert named("monday") == result
    assert machine.ran == ["first", "second", "third"]


def test_an_id_with_other_inputs_is_refused(machine: Machine) -> None:
    """The error shows both inputs."""
    named = three_steps(machine, []).with_options(id="nightly-1")
    named("monday")
    with pytest.raises(OtherInputs, match=r"recorded: nightly\('monday'\)\s+now:\s+nightly\('tuesday'\)"):
        named("tuesday")


def test_a_named_run_is_not_resumed_without_its_name(machine: Machine) -> None:
    """The same arguments without the id are a run of their own."""
    trouble: list[BaseException] = [Trouble()]
    nightly = three_steps(machine, trouble)
    with pytest.raises(Trouble):
        nightly.with_options(id="mine")("monday")
    trouble.clear()
    nightly("monday")
    assert machine.runs() == [("nightly", "failed"), ("nightly", "done")]


@pytest.mark.parametrize("id", ["", "two\nlines", None, 7])
def test_ids_are_checked(machine: Machine, id: Any) -> None:
    """An id that nobody could type is refused at once."""
    with pytest.raises(OptionError):
        three_steps(machine, []).with_options(id=id)


def test_start_and_handle(machine: Machine) -> None:
    """start() gives a handle at once: id, status, and the result or the error."""
    trouble: list[BaseException] = [Trouble("no route")]
    nightly = three_steps(machine, trouble)
    failed = nightly.start("monday")
    with pytest.raises(Trouble, match="no route"):
        failed.result(60)
    assert failed.status() == "failed"
    trouble.clear()
    done = nightly.start("monday")
    assert done.id == failed.id, "it is the same run, resumed"
    assert done.result(60) == "third after second after first of monday"
    assert done.status() == "done"


def test_a_handle_is_awaitable(machine: Machine) -> None:
    """`await handle` waits for the run, sync or async."""
    nightly = three_steps(machine, [])

    @workflow
    async def other() -> int:
        return 7

    async def main() -> tuple[Any, Any]:
        return await nightly.start("monday"), await other.start()

    assert asyncio.run(main()) == ("third after second after first of monday", 7)


def test_one_at_a_time_in_a_process(machine: Machine) -> None:
    """A run that is under way cannot be taken again; it goes on undisturbed."""
    from threading import Event

    entered, go = Event(), Event()

    @step
    def wait() -> int:
        entered.set()
        assert go.wait(60)
        return 1

    @workflow
    def busy() -> int:
        return wait()

    handle = busy.start()
    assert entered.wait(60)
    with pytest.raises(AlreadyRunning, match="already running in this process"):
        busy()
    with pytest.raises(AlreadyRunning):
        busy.start()
    go.set()
    assert handle.result(60) == 1


def children(machine: Machine, trouble: list[BaseException]) -> Any:
    @step
    def leaf(place: str) -> str:
        machine.ran.append(place)
        return place

    @step(retry=None)
    async def aleaf(place: str) -> str:
        machine.ran.append(place)
        if place == "async in async" and trouble:
            raise trouble[0]
        return place

    @workflow
    def inner(place: str) -> str:
        return leaf(place)

    @workflow
    async def ainner(place: str) -> str:
        return await aleaf(place)

    @workflow
    async def outer() -> list[str]:
        return [inner("sync in async"), leaf("here"), *await asyncio.gather(ainner("async in async"), ainner("side"))]

    return outer


@pytest.mark.parametrize("trouble", [Trouble(), Died()])
def test_children_are_resumed_with_their_parent(machine: Machine, trouble: BaseException) -> None:
    """A child that has ended is not entered again; one that has not goes on; nobody runs twice."""
    troubles = [trouble]
    outer = children(machine, troubles)
    with pytest.raises(type(trouble)):
        asyncio.run(outer())
    troubles.clear()
    machine.boot()
    assert asyncio.run(outer()) == ["sync in async", "here", "async in async", "side"]
    assert sorted(machine.ran)[:2] == ["async in async", "async in async"]
    assert machine.ran.count("sync in async") == machine.ran.count("here") == 1
    assert {status for _, status in machine.runs()} == {"done"}
    assert len(machine.runs()) == 4


def test_gather_in_any_order(machine: Machine) -> None:
    """Branches that finish in another order on resume get their own results all the same."""
    alive = [False]

    @step(retry=None)
    async def work(n: int) -> int:
        machine.ran.append(n)
        for _ in range(0 if alive[0] else 10 - n):
            await asyncio.sleep(0)
        if n == 3 and not alive[0]:
            raise Died
        return n * n

    @step
    async def more(n: int) -> int:
        return n + 1

    async def branch(n: int) -> int:
        return await more(await work(n))

    @workflow
    async def side_by_side() -> dict[int, int]:
        numbers = [0, 9, 3, 7, 5, 1, 2, 8, 6, 4] if alive[0] else range(10)
        return dict(zip(numbers, await asyncio.gather(*map(branch, numbers)), strict=True))

    with pytest.raises(Died):
        asyncio.run(side_by_side())
    done = [name for name, _ in machine.steps()].count("work")
    assert 0 < done < 10
    alive[0] = True
    machine.ran.clear()
    machine.boot()
    assert asyncio.run(side_by_side()) == {n: n * n + 1 for n in range(10)}
    assert len(machine.ran) == 10 - done


def test_the_same_call_again_is_another_call(machine: Machine) -> None:
    """A loop that makes the same call gets a result of its own each time, and the same ones on resume."""
    trouble = [True]

    @step
    def draw() -> int:
        machine.ran.append("draw")
        return len(machine.ran)

    @step(retry=None)
    def end() -> None:
        if trouble[0]:
            raise Trouble

    @workflow
    def lottery() -> list[int]:
        drawn = [draw() for _ in range(3)]
        end()
        return drawn

    with pytest.raises(Trouble):
        lottery()
    trouble.clear()
    trouble.append(False)
    assert lottery() == [1, 2, 3]
    assert len(machine.ran) == 3


def test_chance_and_time_are_remembered(machine: Machine) -> None:
    """now(), uuid() and random() are the same on resume, and differ from call to call."""
    trouble = [Trouble()]
    seen: list[object] = []

    @step(retry=None)
    def end() -> None:
        if trouble:
            raise trouble.pop()

    @workflow
    def wf() -> None:
        seen.append([perdure.now(), perdure.uuid(), perdure.uuid(), perdure.random()])
        end()

    with pytest.raises(Trouble):
        wf()
    machine.boot()
    wf()
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[0][2]  # type: ignore[index]


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
