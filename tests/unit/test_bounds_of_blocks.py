"""What a block of a workflow may spend, judged over several lives of the run."""

from __future__ import annotations

from threading import Lock

import pytest

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.core.execution.spending import NANO, NOTHING, Amounts, Bounds, Ledger, shown
from perdure.errors import BudgetExceeded

ALL = Bounds(usd=2 * NANO, tokens=1000, calls=3, ms=5000)


def block(bounds: Bounds, before: Amounts = NOTHING) -> Ledger:
    return Ledger("nightly run", 7, 2, bounds, before, Lock())


@pytest.mark.parametrize(
    ("spent", "reached"),
    [
        (Amounts(2 * NANO - 1, 999, 2, 4999), ""),
        (Amounts(2 * NANO, 1000, 3, 5000), "usd"),
        (Amounts(0, 1000, 3, 5000), "tokens"),
        (Amounts(0, 0, 3, 5000), "calls"),
        (Amounts(0, 0, 0, 5000), "ms"),
    ],
)
def test_a_bound_is_reached_when_all_of_it_is_spent(spent: Amounts, reached: str) -> None:
    """Not before; of several the first is named: money, tokens, calls, time. What has no bound is never reached."""
    assert ALL.reached(spent) == reached
    assert Bounds().reached(spent) == ""


def test_bounds_are_raised_and_never_lowered_or_added() -> None:
    """`resume --budget` gives a block more of what it bounds, and bounds nothing else."""
    bounds = Bounds(tokens=100, calls=10)
    assert bounds.raised_to(Bounds(usd=1, tokens=200, calls=5)) == Bounds(tokens=200, calls=10)
    assert bounds.raised_to(Bounds(tokens=100)) == bounds


def spend_one(ledger: Ledger, field: str) -> None:
    if field == "calls":
        assert ledger.admit("step 'ask'", NOTHING) is None
    else:
        ledger.spend(**{field: 1})


def test_calls_count_when_they_begin_and_their_costs_when_they_end() -> None:
    """Three calls are admitted, the fourth is not; one that is not made after all makes room for another."""
    ledger = block(Bounds(calls=3))
    for _ in range(3):
        assert ledger.admit("step 'ask'", NOTHING) is None
    refused = ledger.admit("step 'ask'", NOTHING)
    assert isinstance(refused, BudgetExceeded)
    assert ledger.refuse("workflow 'inner'") is not None
    ledger.withdraw(NOTHING)
    assert ledger.refuse("workflow 'inner'") is None
    assert ledger.admit("step 'ask'", NOTHING) is None
    ledger.spend(tokens=50)
    assert ledger.seen == Amounts(tokens=50, calls=3)
    assert ledger.label == "7:2"


@pytest.mark.parametrize("field", ["usd", "tokens", "ms"])
def test_what_an_attempt_has_cost_stops_the_next_call(field: str) -> None:
    """Each kind of cost, as soon as its bound is spent."""
    ledger = block(Bounds(**{field: 10}))
    for amount in (9, 1):
        assert ledger.admit("step 'ask'", NOTHING) is None
        ledger.spend(**{field: amount})
    assert ledger.admit("step 'ask'", NOTHING) is not None


@pytest.mark.parametrize("field", ["usd", "tokens", "calls", "ms"])
def test_a_later_life_goes_on_with_what_was_spent_before(field: str) -> None:
    """Before it has come to those calls again, too: what earlier lives spent is spent, each unit counted once."""
    ledger = block(Bounds(**{field: 10}), before=Amounts(**{field: 8}))
    assert ledger.refuse("step 'ask'") is None
    ledger.replayed(Amounts(**{field: 8}))
    assert ledger.refuse("step 'ask'") is None
    spend_one(ledger, field)
    assert ledger.refuse("step 'ask'") is None
    spend_one(ledger, field)
    assert ledger.refuse("step 'ask'") is not None
    assert getattr(ledger.seen, field) == 10


def test_a_call_that_was_begun_in_an_earlier_life_counts_once() -> None:
    """It is seen with what it spent then, and is no further call."""
    ledger = block(Bounds(calls=3), before=Amounts(tokens=70, calls=1))
    assert ledger.admit("step 'ask'", Amounts(tokens=70, calls=1)) is None
    assert ledger.seen == Amounts(tokens=70, calls=1)
    for _ in range(2):
        assert ledger.admit("step 'ask'", NOTHING) is None
    assert ledger.admit("step 'ask'", NOTHING) is not None


def test_costs_of_an_earlier_life_without_a_begun_call_count_the_call_too() -> None:
    """What is known to be spent is added, and the call is one of those that begin now."""
    ledger = block(Bounds(calls=3))
    assert ledger.admit("step 'ask'", Amounts(tokens=70)) is None
    assert ledger.seen == Amounts(tokens=70, calls=1)


@pytest.mark.parametrize(
    ("bounds", "spent", "says", "raised", "again"),
    [
        (Bounds(usd=NANO // 2), Amounts(usd=NANO // 2), "$0.5 of $0.5 are spent", "usd=1", "usd=1.5"),
        (
            Bounds(tokens=1500),
            Amounts(tokens=2000),
            "2,000 of 1,500 tokens are spent",
            "tokens=3000",
            "tokens=5500",
        ),
        (Bounds(ms=1501), Amounts(ms=2000), "2 s of 1.501 s are spent", "seconds=4", "seconds=6"),
        (Bounds(calls=2), Amounts(calls=2), "2 of 2 calls are spent", "calls=4", "calls=4"),
    ],
)
@pytest.mark.parametrize("undoable", [False, True])
def test_a_refusal_says_what_is_spent_and_how_to_go_on(
    bounds: Bounds, spent: Amounts, says: str, raised: str, again: str, undoable: bool
) -> None:
    """With a command that can be pasted: twice the bound, and as much again as what may be undone and made again."""
    ledger = block(bounds)
    ledger.undoable = undoable
    raised = again if undoable else raised
    for _ in range(spent.calls):
        assert ledger.admit("step 'ask'", NOTHING) is None
    ledger.spend(spent.usd, spent.tokens, spent.ms)
    refused = ledger.refuse("step 'ask'")
    assert refused is not None
    assert refused.what == f"step 'ask' is not called: {says}"
    assert f"`perdure resume 'nightly run' --budget {raised}`" in refused.hint


def test_amounts_are_shown_with_their_unit() -> None:
    """Money without zeros at its end, and whole dollars without a point."""
    assert [shown("usd", 12 * NANO), shown("usd", NANO // 4), shown("usd", 1)] == ["$12", "$0.25", "$0.000000001"]
    assert [shown("ms", 1500), shown("tokens", 1234567), shown("calls", 1)] == ["1.5 s", "1,234,567 tokens", "1 call"]


@pytest.mark.parametrize("field", ["usd", "tokens", "calls", "ms"])
def test_what_earlier_lives_have_spent_and_this_one_are_added_up(field: str) -> None:
    """Or what this life has seen, if that is more: what was replayed is among both, and counts once."""
    one = {"usd": 0, "tokens": 0, "calls": 0, "ms": 0} | {field: 2}
    ledger = block(Bounds(**{field: 5}), before=Amounts(**one))
    ledger.replayed(Amounts(**one))
    assert ledger.refuse("workflow 'inner'") is None
    for _ in range(2):
        spend_one(ledger, field)
    assert ledger.refuse("workflow 'inner'") is None
    spend_one(ledger, field)
    assert ledger.refuse("workflow 'inner'") is not None


def test_a_call_that_an_inner_block_refuses_is_none_of_the_outer_one(machine: Machine) -> None:
    """The outer block permits two calls: the one that is refused inside leaves room for the second."""

    @step(name="asks", retry=None)
    def ask(n: int) -> int:
        return n

    @workflow(name="asking")
    def asking() -> list[int]:
        found = []
        with perdure.budget(calls=2):
            with perdure.budget(calls=1):
                found.append(ask(1))
                with pytest.raises(BudgetExceeded, match="1 of 1 call is spent"):
                    ask(2)
            found.append(ask(3))
            with pytest.raises(BudgetExceeded, match="2 of 2 calls are spent"):
                ask(4)
        return found

    assert asking() == [1, 3]
