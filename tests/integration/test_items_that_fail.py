"""What fails for good is parked or ends the batch, as it says; the rest is kept."""

from __future__ import annotations

import pytest
from square_maps import KINDS, squares

import perdure
from conftest import Died, Machine, Trouble
from perdure import Batch, Retry, step, workflow
from perdure.errors import HasDeadLetters, UsageError


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_is_parked_and_the_rest_goes_on(machine: Machine, kind: str) -> None:
    """Dead letters are in input order, and stay dead when the run is resumed."""
    dies = {9}
    wf = squares(machine, kind, {1, 3}, dies)
    items = [0, 1, 2, 3, 4, 5, 6, 9]
    with pytest.raises(Died):
        wf(items)
    kept = set(machine.steps())
    assert kept <= {("work", "done"), ("work", "dead")}
    saved = len(machine.steps())
    dies.clear()
    machine.boot()
    machine.ran.clear()
    results, dead, skipped = wf(items)
    assert results == [0, 4, 16, 25, 36, 81]
    assert dead == ["(1)", "(3)"]
    assert skipped == saved
    assert len(set(machine.ran)) == len(items) - saved


@pytest.mark.parametrize("kind", KINDS)
def test_raise_stops_the_batch(machine: Machine, kind: str) -> None:
    """on_failure="raise": the item's own error; what was done before is kept, and it is tried again by the next run."""
    fails = {2}
    wf = squares(machine, kind, fails, set(), on_failure="raise")
    with pytest.raises(Trouble, match="poison 2"):
        wf(range(8))
    assert 2 < len(set(machine.ran)) <= 8
    done = len(machine.steps())
    fails.clear()
    machine.ran.clear()
    assert wf(range(8))[0] == [n * n for n in range(8)]
    assert len(machine.ran) == 8 - done


def test_dead_letters_say_what_happened(machine: Machine) -> None:
    """Step, input, last error, and every attempt."""

    @step(retry=Retry(attempts=3, jitter=0))
    def work(order: dict[str, int]) -> None:
        raise EOFError(f"attempt {perdure.attempt()} at {order['id']}")

    batches: list[Batch[None]] = []

    @workflow
    def wf() -> None:
        batch = work.map([{"id": 7}])
        batches.append(batch)
        assert not batch.ok
        batch.raise_if_dead()

    with pytest.raises(HasDeadLetters, match=r"1 of 1 items failed for good\s+work\(\{'id': 7\}\): EOFError") as caught:
        wf()
    assert "`perdure dlq redrive 1`" in caught.value.hint
    (letter,) = batches[0].dead
    assert letter.step == "work"
    assert letter.input == "({'id': 7})"
    assert letter.error == "EOFError: attempt 3 at 7"
    assert letter.attempts == [f"EOFError: attempt {n} at 7" for n in (1, 2, 3)]


def test_a_batch_is_no_list() -> None:
    """Items that have failed have no result: whoever takes it for the list of them is told what to take."""
    batch = Batch(["a", "b"], [])
    for use in (list, iter, lambda one: one[0], lambda one: "a" in one):
        with pytest.raises(UsageError, match=r"batch\.results"):
            use(batch)
    assert batch
