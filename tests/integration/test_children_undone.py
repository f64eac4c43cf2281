"""What a child run has done is undone with its parent, in the order of the whole, also if the child is done."""

from __future__ import annotations

import pytest
from tests.integration.fork_scripts import HEAD, Shop

from conftest import Scripts

TRIP = (
    HEAD
    + """
@step
def cancel_seat(seat: str) -> None:
    note(f"cancel {seat}")

@step(undo=cancel_seat)
def book(seat: str) -> str:
    note(f"book {seat}")
    return seat

@step
def look(seat: str) -> str:
    note(f"look {seat}")
    return seat

@step
def tidy(seat: str) -> None:
    note(f"tidy {seat}")

@workflow
def inner(seat: str) -> str:
    return book(seat)

@workflow
def seats() -> list[str]:
    defer(tidy, "seats")
    return [look("a"), book("a"), inner("deep"), book("b")]

@step(retry=None)
def pay() -> None:
    if os.path.exists("poor"):
        raise RuntimeError("no money")
    if os.path.exists("die"):
        os._exit(9)

@workflow
def trip() -> str:
    book("own")
    seats()
    book("late")
    pay()
    return "done"

if __name__ == "__main__":
    print(trip())
"""
)
BOOKED = ["book own", "look a", "book a", "book deep", "book b", "tidy seats", "book late"]
UNDONE = ["cancel late", "cancel b", "cancel deep", "cancel a", "cancel own"]
AGAIN = ["book own", "book a", "book deep", "book b", "tidy seats", "book late"]


@pytest.fixture
def shop(scripts: Scripts) -> Shop:
    return Shop(scripts, TRIP)


def test_a_parent_that_fails_undoes_what_its_child_runs_have_done(shop: Shop) -> None:
    """The last first, grandchildren included; run again, they are made again, and what was not undone is not."""
    shop.file("poor").touch()
    assert shop.run() == 1
    assert shop.ledger() == [*BOOKED, *UNDONE]
    assert "undoes 2 completed steps" in shop.said
    assert shop.run() == 1
    assert shop.ledger() == [*AGAIN, *UNDONE]
    shop.file("poor").unlink()
    assert shop.run() == 0
    assert shop.ledger() == AGAIN
    assert [child["status"] for child in shop.json("show", "last")["children"]] == ["done"]


def test_a_parent_that_is_cancelled_undoes_it_as_well(shop: Shop) -> None:
    """`perdure cancel` of a run that no process executes; what the child had deferred is not called once more."""
    shop.file("die").touch()
    assert shop.run() == 9
    assert shop.ledger() == BOOKED
    (run,) = shop.runs()
    assert shop("cancel", run["id"]) == 0, shop.said
    assert shop.ledger() == UNDONE
    (child,) = shop.json("show", run["id"])["children"]
    assert child["status"] == "cancelled"


def test_a_fork_says_what_it_does_not_undo(shop: Shop) -> None:
    """The child runs of its source are not its own: it stands on them, and another fork may."""
    assert shop.run() == 0
    (run,) = shop.runs()
    shop.ledger()
    shop.file("poor").touch()
    assert shop("fork", run["id"], "--from", "pay") == 1
    assert shop.ledger() == []
    assert "does not undo 2 steps of child runs that its source had called" in shop.said
