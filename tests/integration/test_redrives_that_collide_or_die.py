"""Redrives side by side, of one letter at once, with edited inputs, and cut short by a death."""

from __future__ import annotations

import asyncio
import threading

import pytest
from letter_steps import asend, broken, effect, keys, letter_of, redrive, reset, send, strict

from conftest import Died, Machine
from perdure import step, workflow
from perdure.engines.local.redrive import Result
from perdure.errors import AlreadyRunning, HasDeadLetters, NotDecodable, RunError
from perdure.store import dead_letters


@pytest.fixture(autouse=True)
def _fresh() -> None:
    reset()


def test_many_at_a_time(machine: Machine) -> None:
    """Sync and async letters, four at a time; one that fails does not stop the others."""

    @workflow(name="many")
    async def many() -> list[int]:
        return [len((await asend.map(range(8))).dead), len(await asyncio.to_thread(lambda: []))]

    @workflow(name="manysync")
    def manysync() -> int:
        return len(send.map(range(100, 108)).dead)

    broken.update([*range(8), *range(100, 108)])
    asyncio.run(many())
    manysync()
    broken.clear()
    broken.update([3, 105])
    results = redrive(machine, *range(1, 17), concurrency=4)
    assert [one.letter for one in results if one.status != "resolved"] == [4, 14]
    assert {one.status for one in results} == {"resolved", "failed"}
    assert dead_letters.totals(machine.engine.store) == {"parked": 2, "resolved": 14}


def test_one_letter_is_redriven_by_one_at_a_time(machine: Machine) -> None:
    """Two threads of a process, one letter: the second is refused while the first is at it."""
    inside, go_on = threading.Event(), threading.Event()

    @step(name="send", retry=None)
    def slow(item: int) -> str:
        inside.set()
        assert go_on.wait(60)
        return "slow"

    broken.add(2)
    with pytest.raises(HasDeadLetters):
        strict()
    results: list[Result] = []
    worker = threading.Thread(target=lambda: results.extend(redrive(machine, 1, specs={"send": slow._spec})))
    worker.start()
    assert inside.wait(60)
    (second,) = redrive(machine, 1)
    go_on.set()
    worker.join()
    assert isinstance(second.error, AlreadyRunning)
    assert (second.status, results[0].status) == ("refused", "resolved")
    (third,) = redrive(machine, 1)
    assert third.status == "refused"
    assert isinstance(third.error, RunError)


def test_an_edited_input_has_a_key_of_its_own(machine: Machine) -> None:
    """Edited, the call is another one for the callee; with the recorded input again, it is the same as before."""
    broken.add(2)
    with pytest.raises(HasDeadLetters):
        strict()
    store = machine.engine.store
    from perdure.core.values.codec import pack_inputs

    broken.update([20])
    for given in (pack_inputs([20], {}, owner=""), pack_inputs([20], {}, owner=""), None):
        store.journal.write((), dead_letters.edit(store, 1, given, letter_of(machine).input, 0.0))
        redrive(machine, 1)
    of = {item: {key for what, key, _ in keys if what == item} for item in (2, 20)}
    assert len(of[2]) == len(of[20]) == 1
    assert of[2] != of[20]
    parked = next(record for record in store.all_records(1) if record.status == "dead")
    assert parked.input == pack_inputs([2], {}, owner="")
    assert [one.number for one in store.attempts_of(1, "send", parked.key, 0)] == list(range(1, 9))


def test_an_input_of_which_only_the_type_is_known(machine: Machine) -> None:
    """It was matched by a key, and could not be stored: it is not re-driven with a text in its place."""

    @workflow(name="connected")
    def connected() -> int:
        return len(send.map([open_], key=lambda item: "k").dead)

    open_ = threading.Lock()
    broken.add(open_)
    assert connected() == 1
    (result,) = redrive(machine, 1)
    assert isinstance(result.error, NotDecodable)
    assert "only the type is known" in result.error.what
    assert "perdure dlq edit 1" in result.error.hint
    assert letter_of(machine).redriven == 0


def test_a_process_that_dies_leaves_the_letter_parked(machine: Machine) -> None:
    """Between the success and its commit: the next process re-drives it, under the same key."""
    broken.add(2)
    with pytest.raises(HasDeadLetters):
        strict()
    broken.clear()

    @step(name="send", retry=None)
    def deadly(item: int) -> str:
        effect(item)
        raise Died

    with pytest.raises(Died):
        redrive(machine, 1, specs={"send": deadly._spec})
    machine.boot()
    assert letter_of(machine).status == "parked"
    assert redrive(machine, 1)[0].status == "resolved"
    assert len({key for item, key, _ in keys if item == 2}) == 1
