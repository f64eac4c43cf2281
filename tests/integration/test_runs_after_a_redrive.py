"""A redriven letter gives its run a result only where the run has not gone on without it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from letter_steps import broken, keys, letter_of, redrive, reset, send, strict

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.core.execution.spec import spec_of
from perdure.engines.local.redrive import Result
from perdure.errors import HasDeadLetters


@pytest.fixture(autouse=True)
def _fresh() -> None:
    reset()


@step(name="after")
def after() -> str:
    return "after"


def test_a_redrive_lets_a_failed_run_go_on(machine: Machine) -> None:
    """It failed on a dead letter; the letter is resolved; resumed, it sees a result where the dead letter was."""
    broken.add(2)
    with pytest.raises(HasDeadLetters, match="1 of 3") as caught:
        strict()
    assert "perdure dlq" in caught.value.hint
    machine.boot()
    assert [result.status for result in redrive(machine, 1)] == ["failed"]
    assert letter_of(machine).status == "parked"
    broken.clear()
    (result,) = redrive(machine, 1)
    assert (result.status, result.seen) == ("resolved", True)
    assert letter_of(machine).redriven == 2
    assert machine.engine.store.check() == []
    machine.boot()
    assert strict() == ["sent 1", "sent 2", "sent 3"]
    mine = [(attempt, key) for item, key, attempt in keys if item == 2]
    assert [attempt for attempt, _ in mine] == [1, 2, 3, 4, 5]
    assert len({key for _, key in mine}) == 1
    assert machine.steps() == [("send", "done")] * 3


def test_a_run_that_has_moved_past_keeps_what_it_saw(machine: Machine) -> None:
    """A step behind the map has a record: the resumed run sees the dead letter again, though it is resolved."""
    stops = [True]

    @workflow(name="loose")
    def loose() -> list[Any]:
        batch = send.map([1, 2])
        after()
        if stops:
            raise Trouble("later")
        return [*batch.results, len(batch.dead)]

    broken.add(2)
    with pytest.raises(Trouble):
        loose()
    broken.clear()
    (result,) = redrive(machine, 1)
    assert (result.status, result.seen) == ("resolved", False)
    stops.clear()
    machine.boot()
    assert loose() == ["sent 1", 1]


def test_a_finished_run_keeps_its_result(machine: Machine) -> None:
    """The letter is resolved with its result; what the run returned stays recorded as it was."""

    @workflow(name="finished")
    def finished() -> int:
        return len(send.map([1, 2]).dead)

    broken.add(1)
    assert finished.with_options(id="f")() == 1
    broken.clear()
    assert [(one.status, one.seen) for one in redrive(machine, 1)] == [("resolved", False)]
    assert letter_of(machine).result is not None
    machine.boot()
    assert finished.with_options(id="f")() == 1
    assert sorted(machine.steps()) == [("send", "dead"), ("send", "done")]


def test_a_running_run_keeps_its_view(machine: Machine) -> None:
    """The run is executed while its letter is resolved: its record stays as it is."""
    results: list[Result] = []

    @workflow(name="busy")
    def busy() -> int:
        batch = send.map([1])
        broken.clear()
        worker = threading.Thread(target=lambda: results.extend(redrive(machine, 1)))
        worker.start()
        worker.join()
        return len(batch.dead)

    broken.add(1)
    assert busy() == 1
    assert [(one.status, one.seen) for one in results] == [("resolved", False)]
    assert machine.steps() == [("send", "dead")]


SEATS: list[str] = []


@step(name="settled.take_back", retry=None)
def take_back(seat: str) -> None:
    if "undo" in broken:
        raise Trouble("undo is broken")
    SEATS.remove(seat)


@step(name="settled.take", retry=None, undo=take_back)
def take(seat: str) -> str:
    SEATS.append(seat)
    return seat


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_undoing_is_tried_again_only_if_the_run_does_not_stand_on_it(machine: Machine, goes_on: bool) -> None:
    """The run has failed, and so has its undoing: if it is done by now, the letter is refused."""
    SEATS.clear()

    @workflow(name="settled.trip")
    def trip() -> str:
        seat = take("a")
        if "pay" in broken:
            raise Trouble
        return seat

    broken.update({"pay", "undo"})
    with pytest.raises(Trouble):
        trip()
    broken.clear()
    if goes_on:
        assert trip() == "a"
    name = machine.engine.store.record(1, letter_of(machine).seq).name
    (result,) = redrive(machine, 1, specs={name: spec_of(take_back)})
    assert result.status == ("refused" if goes_on else "resolved")
    assert (["a"] if goes_on else []) == SEATS
    assert letter_of(machine).redriven == (0 if goes_on else 1)


def test_an_item_of_a_run_that_was_cancelled_is_not_made(machine: Machine) -> None:
    """What the run has done was undone at its end; nothing would take back this."""
    broken.add(2)
    with pytest.raises(HasDeadLetters):
        strict()
    (run,) = machine.engine.store.runs()
    assert machine.engine.cancel(run.id, lambda run: None).outcome == "ended"
    broken.clear()
    made = len(keys)
    (result,) = redrive(machine, 1)
    assert (result.status, letter_of(machine).status, len(keys)) == ("refused", "superseded", made)
