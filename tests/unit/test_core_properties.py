"""The core against all that can happen: any workflow, any order of branches, a death at any effect, again and again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from at_length import at_length
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from shapes import TREES, Do, Gather, Node, Sequence
from simulated import Process, outcome
from simulated_disk import Crash, Disk, Identity, World

from perdure.errors import Drift

DEATHS = st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=5)
"""At which effect of its life each process dies, and whether that effect was done."""
SEEDS = st.integers(0, 2**32)
ANY_DEATHS = given(TREES, DEATHS, DEATHS, SEEDS)

few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def completed(disk: Disk) -> dict[Identity, tuple[str, bytes, bytes]]:
    """Which items of a batch that raises (`m 1`) are done is left to chance."""
    return {
        identity: kept
        for identity, kept in disk.records().items()
        if kept[0] != "failed" and not identity[1].startswith(("m ", "n "))
    }


@few
@ANY_DEATHS
def test_the_outcome_is_that_of_the_uninterrupted_run(
    shape: Node, deaths: list[tuple[int, bool]], more_deaths: list[tuple[int, bool]], seed: int
) -> None:
    """Die anywhere, any number of times, with branches in any order; fail, be repaired, and die again: same result or
    error, same records under the same identities. Meanwhile the simulator holds that nothing completed is executed
    again, and that no series of attempts exceeds the policy."""
    calm, rough = Disk(), Disk()
    still, stormy = World(), World()
    expected = outcome(calm, still, shape, [], 0)
    assert outcome(rough, stormy, shape, deaths, seed) == expected
    if expected[0] == "failed":
        still.repaired = stormy.repaired = True
        expected = outcome(calm, still, shape, [], 1)
        assert outcome(rough, stormy, shape, more_deaths, seed + 100) == expected
    assert expected[0] == "done"
    assert completed(rough) == completed(calm)


def finished_part(shape: Node, seed: int, death: int) -> tuple[Disk, World]:
    """What a process left that died, or came as far as a step that fails; that step is repaired now."""
    disk, world = Disk(), World()
    with suppress(Crash):
        Process(disk, world, seed, (death, False)).run(shape)
    world.repaired = True
    return disk, world


STRAIGHT = st.lists(st.sampled_from("abf"), min_size=1, max_size=6)
BRANCHES = st.lists(STRAIGHT, min_size=1, max_size=3)
EDITS = given(BRANCHES, st.integers(3, 40), SEEDS, st.data())


def branches(names: list[list[str]]) -> list[list[Do]]:
    """Steps with a name of their own each, in branches."""
    return [[Do(f"{name}{x}.{y}", y % 3) for y, name in enumerate(branch)] for x, branch in enumerate(names)]


def program(steps: list[list[Do]]) -> Node:
    """Branches side by side, and a step behind them that fails at first, so that no run is finished before the edit."""
    return Sequence((Gather(tuple(Sequence(tuple(branch)) for branch in steps)), Do("h", 0)))


@few
@EDITS
def test_edits_never_strand_a_run(names: list[list[str]], death: int, seed: int, data: st.DataObject) -> None:
    """Insert, remove and reorder steps of other names, within and between concurrent branches: the run goes on to what
    a run of the edited script would have given, and the simulator holds that no completed step is executed again."""
    steps = branches(names)
    disk, world = finished_part(program(steps), seed, death)
    edited = [list(branch) for branch in steps]
    for number, edit in enumerate(data.draw(st.lists(st.sampled_from(["insert", "remove", "move"]), max_size=4))):
        source, target = (data.draw(st.integers(0, len(edited) - 1)) for _ in range(2))
        taken = Do(f"new{number}", 0)
        if edit != "insert" and edited[source]:
            taken = edited[source].pop(data.draw(st.integers(0, len(edited[source]) - 1)))
        if edit != "remove":
            edited[target].insert(data.draw(st.integers(0, len(edited[target]))), taken)
    afresh = World()
    afresh.repaired = True
    assert outcome(disk, world, program(edited), [], seed) == outcome(Disk(), afresh, program(edited), [], 0)


@few
@EDITS
def test_changed_inputs_stop_the_run_before_anything_is_executed(
    names: list[list[str]], death: int, seed: int, data: st.DataObject
) -> None:
    """Any completed step that is now called with other inputs is drift, whatever comes before, after and beside it."""
    steps = branches(names)
    disk, world = finished_part(program(steps), seed, death)
    done = {name for (_, name, _, _) in completed(disk)}
    assume(done)
    changed = data.draw(st.sampled_from(sorted(done)))
    edited = [[step._replace(argument=7) if step.name == changed else step for step in branch] for branch in steps]
    before = world.executed.total()
    with pytest.raises(Drift) as drift:
        outcome(disk, world, program(edited), [], seed)
    assert world.executed.total() == before
    assert f"{changed}(7)" in str(drift.value)


@pytest.mark.long
def test_any_deaths_at_length() -> None:
    """The outcome is that of the uninterrupted run, in thousands of cases."""
    at_length(test_the_outcome_is_that_of_the_uninterrupted_run, ANY_DEATHS)


@pytest.mark.long
@pytest.mark.parametrize(
    "test",
    [test_edits_never_strand_a_run, test_changed_inputs_stop_the_run_before_anything_is_executed],
    ids=lambda test: test.__name__,
)
def test_edits_at_length(test: Callable[..., None]) -> None:
    """Edited scripts go on or stop with drift, in thousands of cases."""
    at_length(test, EDITS)
