"""What was deferred is done at the end, and what was done is undone when the run fails."""

from __future__ import annotations

from tests.conformance.bench import Bench, note, steps
from tests.conformance.shape import QUICK, close, do, fail, fails_at_first, shape

import perdure
from perdure import defer, defer_every_end, step, workflow


@step(retry=None)
def refund(receipt: str) -> None:
    note("refund", receipt)


@step(retry=None, undo=refund)
def charge(what: str) -> str:
    note("charge", what)
    return f"receipt {what}"


@shape
def deferred_calls_when_it_goes_well(bench: Bench) -> None:
    @workflow
    def tidy() -> str:
        for name in "ab":
            defer(close, name)
        charge("c")
        return do("work")

    assert bench.run(tidy) == "work"
    assert steps() == [("charge", "c"), "work", ("close", "b"), ("close", "a")], "and nothing is undone"


@shape
def deferred_calls_when_it_fails_and_again_when_it_is_resumed(bench: Bench) -> None:
    fragile, broken = fails_at_first()

    @workflow
    def tidy_twice() -> str:
        do("first")
        defer_every_end(close, "a")
        result = fragile()
        defer_every_end(close, "b")
        return result

    for _ in range(2):
        assert isinstance(bench.run(tidy_twice), ConnectionError)
    broken[0] = False
    assert bench.run(tidy_twice) == "up"
    again = ["fragile", ("close", "a")]
    assert steps() == ["first", *again, *again, "fragile", ("close", "b"), ("close", "a")]


@shape
def a_clean_up_that_fails(bench: Bench) -> None:
    @step(retry=QUICK)
    def stubborn(what: str) -> None:
        note("stubborn", what)
        raise ConnectionError("cannot close")

    @workflow
    def untidy(how: str) -> str:
        defer_every_end(close, "a")
        defer_every_end(stubborn, "b")
        return do(how) if how == "well" else fail(how)  # type: ignore[return-value]

    assert bench.run(untidy, "well") == "well"
    error = bench.run(untidy, "badly")
    assert isinstance(error, KeyError), "what the run has failed with comes first"
    assert any("defer:stubborn has failed, and is a dead letter" in line for line in error.__notes__)
    cleaned = [*[("stubborn", "b")] * 3, ("close", "a")]
    assert steps() == ["well", *cleaned, ("fail", "badly"), *cleaned]


@shape
def what_was_undone_is_done_again(bench: Bench) -> None:
    keys: list[str] = []
    broken = [True]

    @step(retry=None, undo=refund)
    def pay(what: str) -> str:
        note("pay", what)
        keys.append(perdure.idempotency_key())
        return f"receipt {what}"

    @step(retry=None)
    def ship() -> None:
        note("ship")
        if broken[0]:
            raise ConnectionError("no truck")

    @workflow
    def ordering() -> list[str]:
        do("kept")
        receipts = [pay("a"), pay("b"), *pay.map(["c"]).results]
        ship()
        return receipts

    receipts = ["receipt a", "receipt b", "receipt c"]
    made = [("pay", "a"), ("pay", "b"), ("pay", "c"), "ship"]
    undone = [("refund", each) for each in reversed(receipts)]
    for _ in range(2):
        assert isinstance(bench.run(ordering), ConnectionError)
    broken[0] = False
    assert bench.run(ordering) == receipts
    assert steps() == ["kept", *made, *undone, *made, *undone, *made]
    assert len(set(keys)) == 9


@shape
def an_undo_that_fails(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def unpaid(receipt: str) -> None:
        note("unpaid", receipt)
        raise ValueError("the bank is closed")

    @step(retry=None, undo=unpaid)
    def pay(what: str) -> str:
        note("pay", what)
        return what

    @step(retry=None)
    def ship() -> None:
        if broken[0]:
            raise ConnectionError("no truck")

    @workflow
    def stuck() -> str:
        paid = pay("a")
        ship()
        return paid

    for _ in range(2):
        assert isinstance(bench.run(stuck), ConnectionError)
    broken[0] = False
    assert bench.run(stuck) == "a"
    assert steps() == [("pay", "a"), *[("unpaid", "a")] * 2], "what could not be undone stands, and each end tries it"


@shape
def async_workflows_clean_up(bench: Bench) -> None:
    @step(retry=None)
    async def aclose(what: str) -> None:
        note("aclose", what)

    @step(retry=None, undo=refund)
    async def acharge(what: str) -> str:
        note("acharge", what)
        return what

    @workflow
    async def atidy() -> None:
        await acharge("a")
        defer_every_end(aclose, "b")
        defer_every_end(close, "c")
        raise ConnectionError("no luck")

    assert isinstance(bench.run(atidy), ConnectionError)
    assert steps() == [("acharge", "a"), ("close", "c"), ("aclose", "b"), ("refund", "a")]


@shape
def children_clean_up_by_themselves(bench: Bench) -> None:
    @workflow
    def inner(how: str) -> str:
        defer_every_end(close, how)
        if how == "well":  # what a child that is done has done is undone with its parent on one machine only
            return do(how)  # type: ignore[return-value]
        charge(how)
        return fail(how)  # type: ignore[return-value]

    @workflow
    def outer() -> None:
        defer_every_end(close, "outer")
        inner("well")
        try:
            inner("badly")
        except KeyError:
            do("handled")
        raise ConnectionError("no luck")

    assert isinstance(bench.run(outer), ConnectionError)
    well = ["well", ("close", "well")]
    badly = [("charge", "badly"), ("fail", "badly"), ("refund", "receipt badly"), ("close", "badly")]
    assert steps() == [*well, *badly, "handled", ("close", "outer")]


@shape
def deferred_calls_wait_for_the_final_end(bench: Bench) -> None:
    fragile, broken = fails_at_first()

    @workflow
    def tidy_once() -> str:
        defer(close, do("first"))
        defer(close, charge("b"))
        return fragile()

    for _ in range(2):
        error = bench.run(tidy_once)
        assert isinstance(error, ConnectionError)
        assert any("2 deferred calls wait until the run is done or cancelled" in line for line in error.__notes__)
    broken[0] = False
    assert bench.run(tidy_once) == "up"
    failing = [("charge", "b"), "fragile", ("refund", "receipt b")]
    away = [("close", "receipt b"), ("close", "first")]
    assert steps() == ["first", *failing, *failing, ("charge", "b"), "fragile", *away]
