"""The same items give the same verdict, in whatever order they come and however many are under way."""

from __future__ import annotations

import random

import pytest
from test_faults_of_the_program import KINDS, Odd, mapping

from conftest import Machine
from perdure import Retry
from perdure.core.execution.map_faults import ENOUGH, SAMPLE
from perdure.errors import HasDeadLetters, NotStorable

ITEMS = list(range(60))
POISON = frozenset(range(25))
ORDERS = {
    "first": ITEMS,
    "last": ITEMS[::-1],
    "mixed": random.Random(1).sample(ITEMS, len(ITEMS)),
}


def poisoned(item: int) -> int:
    return None + item if item in POISON else item  # type: ignore[operator]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_poison_keeps_nothing_good_from_being_done(machine: Machine, kind: str, order: str) -> None:
    """25 of 60 items that the code cannot take are dead letters, each tried once, and the others are done."""
    items = ORDERS[order]
    batch = mapping(machine, kind, poisoned)(items)
    assert list(batch.results) == [item for item in items if item not in POISON]
    assert [letter.input for letter in batch.dead] == [f"({item})" for item in items if item in POISON]
    assert [len(letter.attempts) for letter in batch.dead] == [1] * len(POISON)
    assert sorted(machine.ran) == ITEMS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_a_fault_that_is_certain_fails_the_run_in_any_order(machine: Machine, kind: str, order: str) -> None:
    """All good items are done, in the first life, and the error names the first of the others."""
    items = ORDERS[order]
    run = mapping(machine, kind, lambda item: Odd() if item in POISON else item)
    for _ in range(2):
        with pytest.raises(NotStorable) as failed:
            run(items)
        first = next(item for item in items if item in POISON)
        assert any(f"first at work({first})" in note for note in failed.value.__notes__)
        assert machine.steps() == [("work", "done")] * (len(ITEMS) - len(POISON))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_a_bound_of_dead_letters_counts_them_in_any_order(machine: Machine, kind: str, order: str) -> None:
    """max_dead=24 and 25 items that cannot be done: the run fails with HasDeadLetters."""
    with pytest.raises(HasDeadLetters, match="max_dead is 24"):
        mapping(machine, kind, poisoned, max_dead=24)(ORDERS[order])


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_life_begins_with_what_was_not_tried(machine: Machine, kind: str) -> None:
    """The length is not known, and the first items are all bad: the second life comes to the good ones, and is done."""
    run = mapping(machine, kind, poisoned, drawn=iter)
    poison = sorted(POISON)[: ENOUGH + 4]
    items = [*poison, *ITEMS[len(POISON) :]]
    with pytest.raises(TypeError, match="NoneType"):
        run(items)
    tried = set(machine.ran)
    assert ENOUGH <= len(tried) <= ENOUGH + 4
    assert tried <= POISON
    machine.boot()
    machine.ran.clear()
    batch = run(items)
    assert machine.ran[0] not in tried
    assert len(batch.results) == len(ITEMS) - len(POISON)
    assert [letter.input for letter in batch.dead] == [f"({item})" for item in poison]


@pytest.mark.parametrize("kind", KINDS)
def test_each_life_of_a_program_that_cannot_work_is_short(machine: Machine, kind: str) -> None:
    """However often it is resumed, a life tries a sample, until all items were tried; nothing is a dead letter."""
    run = mapping(machine, kind, lambda item: item + "1")
    for _ in range(5):
        with pytest.raises(TypeError):
            run(ITEMS)
        assert ENOUGH <= len(machine.ran) <= ENOUGH + SAMPLE + 12
        machine.ran.clear()
    assert machine.steps() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_success_is_waited_for(machine: Machine, kind: str) -> None:
    """Enough items have failed, and one that is under way succeeds on its third attempt: the program works."""
    failures = [ConnectionError(), ConnectionError()]

    def work(item: int) -> int:
        if item:
            return None + item  # type: ignore[operator, no-any-return]
        if failures:
            raise failures.pop()
        return item

    batch = mapping(machine, kind, work, policy=Retry(attempts=3, delay="1s"), drawn=iter)(list(range(30)))
    assert (list(batch.results), len(batch.dead)) == ([0], 29)
