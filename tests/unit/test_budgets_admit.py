"""What a budget lets begin is the same in every life of a run: a call that a kill cut is no further call."""

from __future__ import annotations

from threading import Lock

from perdure.core.execution.spending import NOTHING, Amounts, Bounds, Ledger


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
