"""What a child run has done is undone with its parent, in the order of the whole, also if the child is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.integration.fork_scripts import HEAD, Shop

from conftest import Died, Machine, Scripts, Trouble
from perdure import step, workflow
from perdure.core.execution.crash_loop import CrashLine
from perdure.engines.local import run_lifecycle
from perdure.errors import CrashLoop
from perdure.store.kept_runs import kept_runs


def booking(seats: list[str], prefix: str) -> Callable[[str], str]:
    """A step that books one of the seats, and is undone."""

    @step(name=f"{prefix}.cancel")
    def cancel_seat(seat: str) -> None:
        seats.remove(seat)

    @step(name=f"{prefix}.book", undo=cancel_seat)
    def book(seat: str) -> str:
        seats.append(seat)
        return seat

    return book


SEATS = (
    HEAD
    + """
@step
def cancel_seat(seat: str) -> None:
    note(f"cancel {seat}")

@step(undo=cancel_seat)
def book(seat: str) -> str:
    note(f"book {seat}")
    return seat
"""
)
"""What the scripts book, and cancel."""

TRIP = (
    SEATS
    + """
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


KEPT = (
    SEATS
    + """
@workflow
def inner(seat: str) -> str:
    return book(seat)

@workflow(once=True)
def shared(seat: str) -> str:
    return book(seat)

@workflow
def other() -> str:
    return shared("any")

@workflow
def trip() -> None:
    book("own")
    inner.with_options(id="named")("named")
    shared("any")
    inner.with_options(id="queued").enqueue("queued")
    if os.path.exists("poor"):
        raise RuntimeError("no money")
    perdure.sleep("1h")

if __name__ == "__main__":
    other()
    trip.with_options(id="trip")()
"""
)


@pytest.mark.parametrize("cancelled", [False, True], ids=["failed", "cancelled"])
def test_what_is_not_undone_with_its_caller_is_named(scripts: Scripts, cancelled: bool) -> None:
    """Runs called by an id, shared by once= or enqueued: on stderr, by `why` and `show`; its own work is undone."""
    shop = Shop(scripts, KEPT)
    if not cancelled:
        shop.file("poor").touch()
    assert shop.run() == (75 if cancelled else 1), shop.said
    if cancelled:
        assert shop("cancel", "trip") == 0, shop.said
    (line,) = (one for one in shop.said.splitlines() if "are not undone with it" in one)
    for named in ("named is done", "queued has not ended (`perdure cancel queued", "shared-"):
        assert named in line
    assert "and 1 more" not in line
    assert [one for one in shop.ledger() if one.startswith("cancel")] == ["cancel own"]
    assert "are not undone with it" in str(shop.json("why", "trip"))
    assert "named is done" in shop.json("show", "trip")["kept"]


@pytest.mark.parametrize("called", ["run", "step"])
def test_a_step_that_looks_like_a_run_of_once_is_not_named(machine: Machine, called: str) -> None:
    """It has the name, the inputs and the result of such a run, which another workflow has begun."""

    def same(n: int) -> int:
        return n

    back = step(same, name="back")
    own = step(same, name="own", undo=back)
    shared = workflow(same, name="shared", once=True)
    alike = shared if called == "run" else step(same, name="shared")

    @workflow(name="calls")
    def calls() -> None:
        own(alike(1))
        raise Trouble

    assert shared(1) == 1
    with pytest.raises(Trouble):
        calls()
    store = machine.engine.store
    (run,) = (run for run in store.runs() if run.workflow == "calls")
    assert (kept_runs(store, run.rid, run.status) is None) == (called == "step")


def test_a_fork_says_what_it_does_not_undo(shop: Shop) -> None:
    """The child runs of its source, and theirs, are not its own: it stands on them, and another fork may."""
    assert shop.run() == 0
    (run,) = shop.runs()
    shop.ledger()
    shop.file("poor").touch()
    assert shop("fork", run["id"], "--from", "pay") == 1
    assert shop.ledger() == []
    assert "does not undo 3 steps of child runs that its source had called" in shop.said


@pytest.mark.parametrize("why", ["early", "crash loop"])
@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_children_that_a_life_has_not_come_to_are_undone_as_well(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, why: str, end: str
) -> None:
    """The run fails before it calls them again: those that are done, and one that a death has cut in its middle."""
    seats: list[str] = []
    dies, fails = [True], [False]

    book = booking(seats, "left")

    @step(name="left.die", retry=None)
    def die() -> None:
        if dies[0]:
            raise Died

    @workflow(name="left.inner")
    def inner(number: int) -> str:
        book(f"inner {number}")
        if number == 1:
            die()
        return book(f"last {number}")

    @workflow(name="left.trip")
    def trip() -> None:
        book("own")
        if fails[0]:
            raise Trouble
        inner(0)
        inner(1)

    with pytest.raises(Died):
        trip()
    machine.boot()
    machine.world.time += 1
    assert seats == ["own", "inner 0", "last 0", "inner 1"]
    if why == "early":
        fails[0] = True
    else:
        monkeypatch.setattr(run_lifecycle, "deaths_of", lambda store, rid: [CrashLine(one, 1.0) for one in "abc"])
    with pytest.raises(Trouble if why == "early" else CrashLoop):
        trip()
    assert seats == []
    machine.boot()
    if end == "cancel":
        (run,) = machine.engine.store.runs()
        assert machine.engine.cancel(run.id, lambda run: None).outcome == "ended"
        assert seats == []
        return
    monkeypatch.undo()
    monkeypatch.setenv("PERDURE_STATE", str(machine.state))
    machine.boot()
    dies[0] = fails[0] = False
    trip()
    assert sorted(seats) == ["inner 0", "inner 1", "last 0", "last 1", "own"]
    assert {status for _, status in machine.runs()} == {"done"}


def test_a_child_that_a_race_has_cut_in_its_middle_is_undone_as_well(machine: Machine) -> None:
    """The life that has called it fails, since another one does, and never hears of its end."""
    seats: list[str] = []

    book = booking(seats, "cut")

    @workflow(name="cut.inner")
    async def inner(number: int) -> None:
        book(f"inner {number}")
        if number:
            raise Trouble
        await asyncio.Event().wait()

    @workflow(name="cut.trip")
    async def trip() -> None:
        book("own")
        await asyncio.gather(inner(0), inner(1))

    with pytest.raises(Trouble):
        asyncio.run(trip())
    assert seats == []
