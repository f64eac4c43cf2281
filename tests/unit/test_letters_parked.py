"""Letters that are parked: a run as a whole is one, and of very many the newest are kept."""

from __future__ import annotations

import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.core.exceptions import capture
from perdure.store import dead_letters, parking
from perdure.store.runs import Store


@step(name="parked", retry=None)
def fails_at_three(x: int) -> int:
    if x == 3:
        raise Trouble("three")
    return x


@workflow(name="parks")
def parks(items: list[int]) -> int:
    return len(fails_at_three.map(items).results)


def test_a_run_that_is_parked_as_a_whole_is_one_letter(machine: Machine) -> None:
    """Parked again it is the same one, with what it failed with last; a good end resolves it while it waits. Nobody has
    re-driven it."""
    parks([1])
    store = machine.engine.store
    (run,) = store.runs()
    path = store.path

    def letter() -> tuple[object, ...]:
        (one,) = dead_letters.find(store, dead_letters.Filter())
        assert one.redriven == 0
        return one.lid, one.seq, one.status, one.changed, one.error, one.exported

    def park(error: Exception, now: float, terms: parking.Terms = parking.TERMS) -> parking.Parking:
        fault = capture.encode(capture.to_fault(error))
        made: parking.Parking = store.journal.write(
            (), lambda connection: parking.park_run(connection, path, run, fault, terms, now)
        )
        return made

    def done(now: float) -> None:
        store.journal.write((), lambda connection: parking.run_done(connection, path, run.rid, now))

    assert not store.journal.read(parking.are_there)
    done(1.0)
    first = park(ValueError("no"), 2.0)
    assert store.journal.read(parking.are_there)
    assert (first.parked, letter()[1:]) == ([letter()[0]], (0, "parked", 2.0, "ValueError", None))
    done(3.0)
    assert letter()[2:4] == ("resolved", 3.0)
    done(4.0)
    assert letter()[2:4] == ("resolved", 3.0)
    assert park(KeyError("no"), 5.0, parking.Terms(10, export=True)) == first
    assert letter()[2:] == ("parked", 5.0, "KeyError", 0)


@pytest.mark.parametrize("way", ["ends", "dies"])
def test_a_process_that_ends_between_the_looks_at_its_letter_and_at_itself(machine: Machine, way: str) -> None:
    """It was at work when the letter was looked at, and no death is said to have cut its redrive off."""
    parks([3])
    store, other = machine.engine.store, Store(machine.state)
    other.journal.write((), dead_letters.claim(other, 1, 2.0))
    letter = dead_letters.get(store, 1)
    assert dead_letters.holding(store, letter) is not None
    if way == "ends":
        other.journal.write((), dead_letters.release(other, 1, 3.0))
    other.close()
    assert (dead_letters.holding(store, letter) is not None) == (way == "ends")
    assert dead_letters.holding(store, dead_letters.get(store, 1)) is None


def test_so_many_letters_are_kept(machine: Machine) -> None:
    """The oldest of those that wait make room, with the attempts of their calls; they are still known."""
    parks([3, 3, 3])
    store = machine.engine.store
    (run,) = store.runs()
    before = list(dead_letters.find(store, dead_letters.Filter()))
    assert len(before) == 3
    parked: parking.Parking = store.journal.write(
        (), lambda connection: parking.park(connection, store.path, [(run.rid, 99)], {}, parking.Terms(2), 9.0)
    )
    assert sorted(parked.evicted) == sorted(letter.lid for letter in before)[:2]
    left = list(dead_letters.find(store, dead_letters.Filter(status="evicted")))
    assert {letter.lid for letter in left} == set(parked.evicted)
    assert {letter.changed for letter in left} == {9.0}
