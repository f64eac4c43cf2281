"""What a budget lets begin is the same in every life of a run: a call that a kill cut is no further call."""

from __future__ import annotations

from threading import Lock

import pytest

from perdure.core.execution.spending import NANO, NOTHING, Amounts, Bounds, Ledger


def ledger(before: Amounts) -> Ledger:
    return Ledger("run-1", 1, 1, Bounds(calls=2, tokens=100), before, Lock())


def test_the_last_call_that_is_permitted_is_made_again_after_a_kill():
    """It had begun, and had spent something: it counts as the call that it was; the next one is refused as ever."""
    book = ledger(before=Amounts(calls=2, tokens=2))
    book.replayed(Amounts(calls=1, tokens=1))
    assert book.admit("step 'ask'", Amounts(calls=1, tokens=1)) is None
    assert book.seen == Amounts(calls=2, tokens=2)
    assert "2 of 2 calls" in str(book.admit("step 'ask'", NOTHING))


def test_a_call_that_was_never_begun_is_refused_where_it_was():
    """What earlier lives had begun and this one has not come to again counts too."""
    book = ledger(before=Amounts(calls=2))
    book.replayed(Amounts(calls=1))
    assert "2 of 2 calls" in str(book.admit("step 'ask'", NOTHING))


def test_what_a_killed_call_spent_is_spent():
    """Other bounds hold for the repetition as well."""
    book = ledger(before=Amounts(calls=1, tokens=100))
    assert "100 of 100 tokens" in str(book.admit("step 'ask'", Amounts(calls=1, tokens=100)))


def test_a_call_that_is_not_made_after_all_is_given_back():
    """Another one may be made in its place, whether an earlier life had spent anything or not."""
    for before in (NOTHING, Amounts(calls=1)):
        book = ledger(before)
        book.replayed(before)
        for _ in range(3):
            assert book.admit("step 'ask'", NOTHING) is None
            book.withdraw(NOTHING)
        assert book.seen == before
        begun = Amounts(calls=1, tokens=5)
        assert book.admit("step 'ask'", begun) is None
        book.withdraw(begun)
        assert book.seen == before


FIELDS = ("usd", "tokens", "calls", "ms")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("before", [NOTHING, Amounts(1, 1, 1, 1)])
def test_each_bound_is_reached_at_its_very_amount(field: str, before: Amounts) -> None:
    """And not one below it; the others do not matter, nor does a bound that is not set."""
    for spent, refused in ((9, False), (10, True), (11, True)):
        book = Ledger("run-1", 7, 2, Bounds(**{field: 10}), before, Lock())
        assert book.label == "7:2"
        book.replayed(Amounts(**{field: spent}))
        assert (book.refuse("it") is not None) is refused
        assert (book.admit("it", NOTHING) is not None) is refused
        assert getattr(book.seen, field) == spent + (field == "calls" and not refused)
        assert Bounds(**{field: 10}).reached(book.seen) == (field if refused or field == "calls" else "")
        free = Ledger("run-1", 7, 2, Bounds(**{other: 10 for other in FIELDS if other != field}), before, Lock())
        free.replayed(Amounts(**{field: spent}))
        assert free.admit("it", NOTHING) is None


def test_what_is_spent_in_this_life_adds_to_what_was_before() -> None:
    """Whichever is more counts: what this life has seen again and spent, or what was before with what is new."""
    book = Ledger("run-1", 7, 2, Bounds(usd=50, tokens=60, calls=70, ms=80), Amounts(10, 20, 30, 40), Lock())
    book.spend(usd=5, tokens=6, ms=7)
    assert book.seen == Amounts(5, 6, 0, 7)
    assert book._most() == Amounts(15, 26, 30, 47)
    assert book._most(again=1).calls == 29  # type: ignore[union-attr]
    assert book.admit("it", NOTHING) is None
    assert (book.seen.calls, book._most()) == (1, Amounts(15, 26, 31, 47))
    book.replayed(Amounts(100, 0, 0, 0))
    assert book._most() == Amounts(105, 26, 31, 47)
    assert book.admit("it", NOTHING) is not None
    fresh = Ledger("run-1", 7, 2, Bounds(tokens=6), NOTHING, Lock())
    fresh.spend(tokens=5)
    assert fresh.admit("it", Amounts(usd=3, tokens=0, calls=0, ms=4)) is None
    assert fresh.seen == Amounts(3, 5, 1, 4)
    fresh.spend(tokens=1)
    assert fresh.admit("it", NOTHING) is not None
    assert fresh.seen == Amounts(3, 6, 1, 4)


@pytest.mark.parametrize(
    ("field", "bound", "spent", "undoable", "said", "raised"),
    [
        ("usd", 2 * NANO, 2 * NANO, False, "$2 of $2 are spent", "usd=4`"),
        ("usd", 2 * NANO, 3 * NANO, True, "$3 of $2 are spent", "usd=8`"),
        ("usd", NANO // 4, NANO // 4, False, "$0.25 of $0.25 are spent", "usd=0.5`"),
        ("tokens", 100, 100, False, "100 of 100 tokens are spent", "tokens=200`"),
        ("tokens", 1, 1, False, "1 of 1 token is spent", "tokens=2`"),
        ("tokens", 1000, 2500, True, "2,500 of 1,000 tokens are spent", "tokens=6000`"),
        ("calls", 3, 3, True, "3 of 3 calls are spent", "calls=6`"),
        ("calls", 1, 1, False, "1 of 1 call is spent", "calls=2`"),
        ("ms", 1500, 1600, False, "1.6 s of 1.5 s are spent", "seconds=3`"),
        ("ms", 1501, 1501, False, "1.501 s of 1.501 s are spent", "seconds=4`"),
        ("ms", 1000, 1000, True, "1 s of 1 s are spent", "seconds=3`"),
    ],
)
def test_a_bound_that_is_used_up_says_so_and_how_it_is_raised(
    field: str, bound: int, spent: int, undoable: bool, said: str, raised: str
) -> None:
    """To twice as much; with room for the repetition of what is undone, where that is spent again."""
    book = Ledger("my run", 7, 2, Bounds(**{field: bound}), NOTHING, Lock())
    book.undoable = undoable
    book.replayed(Amounts(**{field: spent}))
    error = book.refuse("step 'ask'")
    assert error is not None
    assert error.what == f"step 'ask' is not called: {said}"
    assert f"`perdure resume 'my run' --budget {raised[:-1]}`" in str(error)


def test_bounds_are_raised_and_never_lowered() -> None:
    """Those that are set; an equal one stays."""
    bounds = Bounds(usd=5, tokens=5, calls=5)
    assert bounds.raised_to(Bounds(usd=6, tokens=4, ms=9)) == Bounds(usd=6, tokens=5, calls=5)
    assert bounds.raised_to(bounds) == bounds
    assert Amounts(1, 2, 3, 4) + Amounts(10, 20, 30, 40) == Amounts(11, 22, 33, 44)
    assert Bounds(1, 1, 1, 1).reached(Amounts(0, 0, 0, 0)) == ""
    assert [Bounds(1, 1, 1, 1).reached(Amounts(*each)) for each in ((1, 1, 1, 1), (0, 1, 1, 1), (0, 0, 1, 1))] == [
        "usd",
        "tokens",
        "calls",
    ]
