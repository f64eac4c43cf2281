"""What can be undone is undone when the run does not succeed, and done again under another key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import Machine, Trouble
from perdure import idempotency_key, step, workflow
from perdure.core.execution.idempotency import child_id
from perdure.operations.dead_letters import Selection, list_letters
from perdure.store import forks


def test_what_was_undone_is_done_again_under_another_key(machine: Machine) -> None:
    """Undone last first, with the result; a resumed run makes the calls anew, since a service knows the old key."""
    keys: list[str] = []
    fails = [True]

    @step(name="refund")
    def refund(receipt: str) -> None:
        machine.ran.append(f"refund {receipt}")

    @step(name="charge", undo=refund)
    def charge(what: str) -> str:
        keys.append(idempotency_key())
        machine.ran.append(f"charge {what}")
        return f"receipt {what}"

    @step(name="ship", retry=None)
    def ship() -> None:
        if fails:
            raise Trouble("no truck")

    @workflow
    def flow() -> list[str]:
        receipts = [charge("a"), charge("b"), *charge.map(["c"]).results]
        ship()
        return receipts

    with pytest.raises(Trouble):
        flow()
    assert machine.ran == [
        "charge a",
        "charge b",
        "charge c",
        "refund receipt c",
        "refund receipt b",
        "refund receipt a",
    ]
    fails.clear()
    machine.ran.clear()
    machine.boot()
    assert flow() == ["receipt a", "receipt b", "receipt c"]
    assert machine.ran == ["charge a", "charge b", "charge c"]
    assert len(set(keys)) == 6
    store = machine.engine.store
    (run,) = store.runs()
    again = store.journal.write((), forks.fork(store, run, "fork", 1, machine.world.now(), child_id))
    behind = store.journal.write((), forks.fork(store, run, "other", 1_000, machine.world.now(), child_id))
    assert (again.remade, behind.remade) == (3, 0), "a fork says how many of them it makes once more"


@dataclass(frozen=True)
class Booking:
    """Its fields are not in the order of the alphabet."""

    kind: str
    id: str


RESULTS: list[tuple[Any, Any]] = [
    (Booking, Booking("car", "7")),
    (list[Booking], [Booking("car", "7"), Booking("air", "8")]),
    (dict[str, Any], {"b": 1, "a": {2, 3}}),
    (tuple[str, list[str]], ("b", ["a"])),
    (int, 7),
]


@pytest.mark.parametrize(("declared", "result"), RESULTS)
def test_an_undo_that_leaves_its_argument_alone_has_not_changed_it(
    machine: Machine, declared: Any, result: Any
) -> None:
    """A result and an input have forms of their own: what is undone is compared in one of them."""
    assert _undone(machine, declared, result, lambda given: None) == []
    assert machine.ran == [f"undo {result}"]


def test_an_undo_that_changes_its_argument_is_a_dead_letter(machine: Machine) -> None:
    """As for any other step."""
    assert _undone(machine, list[int], [3, 2], lambda given: given.append(1)) == ["ArgumentChanged"]
    assert machine.ran == ["undo [3, 2]"]


def _undone(machine: Machine, declared: Any, result: Any, then: Callable[[Any], None]) -> list[str]:
    """Undo a step with that result; the classes of the errors of dead letters."""

    def cancel(given: Any) -> None:
        machine.ran.append(f"undo {given}")
        then(given)

    def book() -> Any:
        return result

    cancel.__annotations__["given"] = book.__annotations__["return"] = declared

    @step(name="ship", retry=None)
    def ship() -> None:
        raise Trouble("no truck")

    booked = step(book, name="book", undo=step(cancel, name="cancel", retry=None))

    @workflow
    def flow() -> None:
        booked()
        ship()

    with pytest.raises(Trouble):
        flow()
    letters = list_letters(machine.engine.store, Selection()).letters
    return [letter.error.partition(":")[0] for letter in letters]


def test_nothing_is_undone_when_the_run_succeeds(machine: Machine) -> None:
    """Undoing is for runs that fail or are cancelled."""

    @step(name="refund")
    def refund(receipt: str) -> None:
        machine.ran.append("refund")

    @step(name="charge", undo=refund)
    def charge() -> str:
        return "receipt"

    @workflow
    def flow() -> str:
        return charge()

    assert flow() == "receipt"
    assert machine.ran == []


def test_a_run_of_which_one_call_is_undone_and_another_cannot_be_goes_on(machine: Machine) -> None:
    """What is undone is made again, before the calls of the same step whose undoing has failed: that is no drift."""
    fails = [True]

    @step(name="refund", retry=None)
    def refund(receipt: str) -> None:
        if receipt == "receipt b":
            raise Trouble("no refund")

    @step(name="charge", undo=refund)
    def charge(what: str) -> str:
        machine.ran.append(what)
        return f"receipt {what}"

    @step(name="ship", retry=None)
    def ship() -> None:
        if fails:
            raise Trouble("no truck")

    @workflow
    def flow() -> list[str]:
        receipts = [charge("a"), charge("b")]
        ship()
        return receipts

    with pytest.raises(Trouble):
        flow()
    fails.clear()
    machine.boot()
    assert flow() == ["receipt a", "receipt b"]
    assert machine.ran == ["a", "b", "a"]


def test_what_follows_from_a_call_that_was_undone_may_be_another_thing(machine: Machine) -> None:
    """Made again, it has another result, and what is called with that is not what was called before: no drift."""
    fails = [True]
    numbers = iter(range(100))

    @step(name="refund")
    def refund(receipt: int) -> None:
        pass

    @step(name="charge", undo=refund)
    def charge() -> int:
        return next(numbers)

    @step(name="mail", retry=None)
    def mail(receipt: int) -> int:
        machine.ran.append(str(receipt))
        return receipt

    @step(name="ship", retry=None)
    def ship() -> None:
        if fails:
            raise Trouble("no truck")

    @workflow
    def flow() -> int:
        mailed = mail(charge())
        ship()
        return mailed

    with pytest.raises(Trouble):
        flow()
    fails.clear()
    machine.boot()
    assert flow() == 1
    assert machine.ran == ["0", "1"]
