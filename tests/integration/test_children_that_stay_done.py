"""What a finished child run has done is not undone with its parent, and that is said."""

from __future__ import annotations

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

@workflow
def seats() -> list[str]:
    return [book("a"), book("b")]

@workflow
def trip(fail: bool) -> str:
    book("own")
    seats()
    if fail:
        raise RuntimeError("no money")
    return "done"

if __name__ == "__main__":
    trip("fail" in sys.argv)
"""
)


def test_a_parent_that_fails_says_what_it_does_not_undo(scripts: Scripts) -> None:
    """Its own call is undone; the two of the child run are named, once; a run that is done says nothing."""
    shop = Shop(scripts, TRIP)
    assert shop.run() == 0
    assert "undo" not in shop.said
    shop.ledger()
    assert shop.run("fail") == 1
    assert shop.ledger() == ["book own", "book a", "book b", "cancel own"]
    assert shop.said.count("does not undo 2 steps of child runs that are done") == 1


def test_a_parent_that_is_cancelled_says_it_as_well(scripts: Scripts) -> None:
    """`perdure cancel` of a run that no process executes makes the clean-ups itself."""
    shop = Shop(scripts, TRIP.replace('raise RuntimeError("no money")', "os._exit(9)"))
    assert shop.run("fail") == 9
    (run,) = shop.runs()
    assert shop("cancel", run["id"]) == 0, shop.said
    assert shop.ledger()[-1] == "cancel own"
    assert "does not undo 2 steps of child runs that are done" in shop.said
