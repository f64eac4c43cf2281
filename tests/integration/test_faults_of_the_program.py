"""A fault of the program ends a map before all items are tried; odd items do not, wherever they stand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Machine, Scripts, Trouble
from perdure import Batch, Retry, step, workflow
from perdure.core.execution.map_faults import ENOUGH, SAMPLE
from perdure.errors import HasDeadLetters, NotStorable, OptionError

KINDS = ["one by one", "threads", "tasks"]
ITEMS = 40
MANY = 2_000
TRIED = ENOUGH + SAMPLE + 8
"""At most so many items are tried of a map in which none succeeds; some are in flight when it ends."""


class Odd: ...


def mapping(
    machine: Machine,
    kind: str,
    work: Callable[[Any], Any],
    *,
    policy: Retry | None = None,
    drawn: Callable[[Any], Any] = list,
    **options: Any,
) -> Callable[[Any], Batch[Any]]:
    """A workflow that maps `work` over its items, in one of the ways to do so; returns the batch."""
    concurrency = 1 if kind == "one by one" else 4
    batches: list[Batch[Any]] = []

    def counted(item: Any) -> Any:
        machine.ran.append(item)
        return work(item)

    if kind == "tasks":

        async def acounted(item: Any) -> Any:
            await asyncio.sleep(0)
            return counted(item)

        amapped = step(acounted, name="work", retry=policy)

        @workflow(name="wf")
        async def awf(items: Any) -> None:
            batches.append(await amapped.map(drawn(items), concurrency=concurrency, **options))

        def run(items: Any) -> Batch[Any]:
            asyncio.run(awf(items))
            return batches[-1]

        return run
    mapped = step(counted, name="work", retry=policy)

    @workflow(name="wf")
    def wf(items: Any) -> None:
        batches.append(mapped.map(drawn(items), concurrency=concurrency, **options))

    def run(items: Any) -> Batch[Any]:
        wf(items)
        return batches[-1]

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("work", "error"),
    [(lambda i: Odd(), NotStorable), (lambda i: i + "1", TypeError), (lambda i: undefined, NameError)],  # noqa: F821
    ids=["value", "type", "name"],
)
def test_it_ends_the_map_early(machine: Machine, kind: str, work: Any, error: type[Exception]) -> None:
    """A sample is tried, nothing is a dead letter, and the run fails with an error that names the first item."""
    run = mapping(machine, kind, work)
    with pytest.raises(error) as failed:
        run(range(MANY))
    assert len(machine.ran) <= TRIED
    assert any("first at work(0)" in note for note in failed.value.__notes__)
    assert machine.runs() == [("wf", "failed")]
    assert machine.steps() == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_completed_before_is_kept(machine: Machine, kind: str) -> None:
    """Values that cannot be stored: all other items are done first, and the mended script makes up for these alone."""
    odd = {0, 20}
    run = mapping(machine, kind, lambda i: Odd() if i in odd else i)
    with pytest.raises(NotStorable) as failed:
        run(range(ITEMS))
    assert any("2 items failed in this way, the others are done" in note for note in failed.value.__notes__)
    assert machine.steps() == [("work", "done")] * (ITEMS - 2)
    odd.clear()
    machine.ran.clear()
    assert list(run(range(ITEMS)).results) == list(range(ITEMS))
    assert sorted(machine.ran) == [0, 20]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", [0, 1, ITEMS - 1])
def test_an_odd_item_is_a_dead_letter(machine: Machine, kind: str, odd: int) -> None:
    """One item of many that the code cannot take, wherever it stands: the others go on."""
    batch = mapping(machine, kind, lambda i: None + 1 if i == odd else i)(range(ITEMS))  # type: ignore[operator]
    assert list(batch.results) == [i for i in range(ITEMS) if i != odd]
    assert [letter.input for letter in batch.dead] == [f"({odd})"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_with_each_item_is_not_the_program(machine: Machine, kind: str) -> None:
    """All items fail by their values: each is a dead letter, tried once."""
    batch = mapping(machine, kind, lambda text: json.loads(text) and int(text))(["x", "y", "z"])
    assert (len(batch.results), len(batch.dead)) == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_more_dead_letters_than_are_put_up_with(machine: Machine, kind: str) -> None:
    """max_dead=3: the fourth ends the map; redriven, the run goes on, and until then it ends in the same way."""
    down = [True]

    def work(i: int) -> int:
        if down[0] and i >= 2:
            raise Trouble(f"down at {i}")
        return i

    run = mapping(machine, kind, work, max_dead=3)
    for _ in range(2):
        with pytest.raises(HasDeadLetters, match=r"max_dead is 3\s+the first: work\(2\): Trouble: down at 2"):
            run(range(ITEMS))
        assert machine.runs() == [("wf", "failed")]
        assert len(machine.ran) <= 6 + 4
    assert 4 <= machine.steps().count(("work", "dead")) <= 4 + 4


def test_as_many_as_are_put_up_with(machine: Machine) -> None:
    """max_dead=2 and two dead letters: the map is done."""

    def work(i: int) -> int:
        if i < 2:
            raise Trouble
        return i

    batch = mapping(machine, "threads", work, max_dead=2)(range(10))
    assert (len(batch.results), len(batch.dead)) == (8, 2)


@pytest.mark.parametrize("wrong", [-1, True, 0.5, "3"])
def test_mistakes_in_max_dead(machine: Machine, wrong: Any) -> None:
    """A number of dead letters, and nothing else."""
    with pytest.raises(OptionError, match="max_dead is"):
        mapping(machine, "one by one", lambda i: i, max_dead=wrong)([1])


def test_a_script_with_such_a_fault_fails(scripts: Scripts) -> None:
    """`python FILE`: exit code 1, and the error at the end says which item, and that it is the program."""
    script = scripts.write("""
        from perdure import step, workflow
        @step
        def add(i: int) -> int: return i + "1"
        @workflow
        def sweep() -> int: return len(add.map(range(300), concurrency=4).dead)
        sweep()
        """)
    process = scripts.start(script)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "fault of the program, not of an item" in errors
    assert "add(0)" in errors
