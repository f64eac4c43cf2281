"""The proof of the demo can fail: each falsehood in a ledger or an account breaks the claims that speak of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from demo_orders import ORDERS, SEED, broken, decoded

from perdure.demo.api import Api, Ending, Order, refusal
from perdure.demo.ledger import Effect, Ledger, Line, Mark, Request, read
from perdure.demo.mishaps import draw
from perdure.demo.proof import KILLED, Account, prove
from perdure.demo.run import CONCURRENCY


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Line], Account]:
    """The ledger and account of a client that does everything right, without a network.

    It stops after 100 orders with 8 more in flight, whose first request was sent and whose answer it never saw.
    """
    orders = decoded(ORDERS)
    path = tmp_path_factory.mktemp("honest") / "ledger.jsonl"
    with Ledger(path) as ledger:
        api = Api(ledger, draw([order.id for order in orders if not refusal(order)], SEED), SEED)

        def finish(body: bytes, order: Order) -> None:
            for _ in range(4):
                answer = api.charge(body, f"key of {order.id}")
                if answer.body.get("status") == "ok" and answer.ending is Ending.WHOLE:
                    return

        for body, order in zip(ORDERS[:100], orders, strict=False):
            finish(body, order)
        for body, order in zip(ORDERS[100:108], orders[100:], strict=False):
            api.charge(body, f"key of {order.id}")
        api.mark(KILLED)
        for body, order in zip(ORDERS[100:], orders[100:], strict=True):
            finish(body, order)
    good = [order for order in orders if not refusal(order)]
    totals: dict[str, Decimal] = {}
    for order in good:
        totals[order.currency] = totals.get(order.currency, Decimal()) + Decimal(order.amount)
    dead = [order.id for order in orders if refusal(order)]
    return read(path), Account(1, [order.id for order in orders[:100]], dead, dead, len(good), totals)


def test_an_honest_ledger_is_proof(honest: tuple[list[Line], Account]) -> None:
    """Nothing is held against a client that did everything right."""
    lines, account = honest
    assert [claim for claim in prove(decoded(ORDERS), lines, account, CONCURRENCY) if not claim.holds] == []


def change(line: Line, **changes: object) -> Line:
    return msgspec.structs.replace(line, **changes)


def first(lines: Sequence[Line], wanted: Callable[[Request], bool]) -> int:
    return next(n for n, line in enumerate(lines) if isinstance(line, Request) and wanted(line))


def is_charge(line: Request) -> bool:
    return line.effect is Effect.CHARGED


def answered(line: Request) -> bool:
    return line.outcome == "answered" and line.effect is Effect.CHARGED


def double(lines: list[Line]) -> None:
    lines.insert(0, lines[first(lines, is_charge)])


def missing(lines: list[Line]) -> None:
    order = lines[first(lines, answered)].order  # type: ignore[union-attr]
    lines[:] = [line for line in lines if isinstance(line, Mark) or line.order != order]


def poison_charged(lines: list[Line]) -> None:
    n = first(lines, lambda line: line.outcome.startswith("422"))
    lines[n] = change(lines[n], effect=Effect.CHARGED)


def poison_never_sent(lines: list[Line]) -> None:
    lines[:] = [line for line in lines if isinstance(line, Mark) or not line.outcome.startswith("422")]


def stranger(lines: list[Line]) -> None:
    lines.insert(0, change(lines[first(lines, is_charge)], order="SO-1", key="another"))


def other_key(lines: list[Line]) -> None:
    n = first(lines, is_charge)
    lines.insert(n, change(lines[n], key="another", effect=Effect.NOTHING, outcome="500"))


def no_key(lines: list[Line]) -> None:
    n = first(lines, is_charge)
    lines[n] = change(lines[n], key="")


def shared_key(lines: list[Line]) -> None:
    one, other = lines[0], lines[-1]
    assert isinstance(one, Request)
    lines[-1] = change(other, key=one.key)


def saved_again(lines: list[Line]) -> None:
    n = first(lines, answered)
    lines.append(change(lines[n], effect=Effect.REPLAYED))


def too_many_again(lines: list[Line]) -> None:
    sent = {line.order: line for line in lines if isinstance(line, Request)}
    early = {line.order for line in lines[: lines.index(next(x for x in lines if isinstance(x, Mark)))]}  # type: ignore[union-attr]
    late = [line for order, line in sent.items() if order not in early]
    lines[:0] = [change(line, effect=Effect.REPLAYED, outcome="answered") for line in late[: CONCURRENCY + 1]]


def not_killed(lines: list[Line]) -> None:
    lines[:] = [line for line in lines if isinstance(line, Request)]


def killed_too_late(lines: list[Line]) -> None:
    not_killed(lines)
    lines.append(Mark(KILLED, 99.0))


def killed_too_early(lines: list[Line]) -> None:
    not_killed(lines)
    lines.insert(0, Mark(KILLED, 0.0))


def wrong_amount(lines: list[Line]) -> None:
    n = first(lines, is_charge)
    lines[n] = change(lines[n], amount="0.01")


def never_asked_again(lines: list[Line]) -> None:
    n = first(lines, lambda line: line.outcome.startswith("charged, then"))
    order = lines[n].order  # type: ignore[union-attr]
    lines[:] = [line for m, line in enumerate(lines) if m <= n or isinstance(line, Mark) or line.order != order]


def tame_api(lines: list[Line]) -> None:
    lines[:] = [
        change(line, outcome="answered") if isinstance(line, Request) and is_charge(line) else line for line in lines
    ]


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (double, {"charged-once", "sums-agree"}),
        (missing, {"charged-once", "sums-agree", "one-key-each"}),
        (poison_charged, {"charged-once", "poison-not-charged", "sums-agree"}),
        (poison_never_sent, {"poison-not-charged", "one-key-each"}),
        (stranger, {"charged-once", "sums-agree"}),
        (other_key, {"one-key-each"}),
        (no_key, {"one-key-each"}),
        (shared_key, {"one-key-each"}),
        (saved_again, {"saved-not-again"}),
        (too_many_again, {"only-in-flight-again"}),
        (not_killed, {"killed-half-way"}),
        (killed_too_late, {"killed-half-way"}),
        (killed_too_early, {"killed-half-way", "saved-not-again"}),
        (wrong_amount, {"sums-agree"}),
        (never_asked_again, {"lost-answers-asked-again"}),
        (tame_api, {"lost-answers-asked-again"}),
    ],
)
def test_a_tampered_ledger_is_no_proof(
    honest: tuple[list[Line], Account], tamper: Callable[[list[Line]], None], expected: set[str]
) -> None:
    """Each falsehood in the ledger breaks the claims that speak of it, and no other."""
    lines, account = list(honest[0]), honest[1]
    tamper(lines)
    assert broken(prove(decoded(ORDERS), lines, account, CONCURRENCY)) == expected


@pytest.mark.parametrize(
    ("falsehood", "expected"),
    [
        (lambda a: replace(a, dead=a.dead[1:]), {"poison-parked"}),
        (lambda a: replace(a, dead=[*a.dead, "SO-48211"]), {"poison-parked"}),
        (lambda a: replace(a, dead=[*a.dead, a.dead[0]]), {"poison-parked"}),
        (lambda a: replace(a, parked=a.parked[1:]), {"poison-parked"}),
        (lambda a: replace(a, parked=[*a.parked, "SO-48211"], dead=[*a.parked, "SO-48211"]), {"poison-parked"}),
        (lambda a: replace(a, runs=2), {"resumed"}),
        (lambda a: replace(a, charged=a.charged - 1), {"sums-agree"}),
        (lambda a: replace(a, totals={**a.totals, "EUR": Decimal(1)}), {"sums-agree"}),
        (lambda a: replace(a, saved=[]), {"saved-not-again"}),
        (lambda a: replace(a, saved=[*a.saved, "SO-48311"]), {"saved-not-again"}),
    ],
)
def test_a_workflow_that_says_something_else_is_no_proof(
    honest: tuple[list[Line], Account], falsehood: Callable[[Account], Account], expected: set[str]
) -> None:
    """What the workflow says of itself must be what the ledger says."""
    lines, account = honest
    assert broken(prove(decoded(ORDERS), lines, falsehood(account), CONCURRENCY)) == expected
