"""What the payment API decides about a request: its rules, its memory of idempotency keys, its mishaps. No network."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum

import msgspec

from perdure.demo.ledger import Effect, Ledger, Mark, Request
from perdure.demo.mishaps import Mishap, Script

CURRENCIES = frozenset({"EUR", "USD", "GBP", "CHF", "SEK", "PLN"})
QUANTITY_LIMIT = 25
UNKNOWN_SKU = "GFT-000-OLD"

HANG_SECONDS = 30.0  # longer than any client should wait
SLOW_SECONDS = 0.9
RETRY_AFTER_SECONDS = 1


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as clients send it; a line of orders.jsonl."""

    id: str
    customer: str
    sku: str
    quantity: int
    amount: str
    currency: str


class Refusal(StrEnum):
    """Why an order can never be charged, however often it is tried."""

    AMOUNT = "422 amount"
    CURRENCY = "422 currency"
    CRASH = "500 always"
    DECLINED = "200 declined"


class BadRequest(StrEnum):
    """Why a request is not understood at all; it says nothing about the order."""

    UNREADABLE = "400 unreadable"
    KEY_REUSED = "400 key reused"


class Ending(StrEnum):
    """How the connection ends."""

    WHOLE = "whole"
    CUT = "cut"  # half of the answer, then the connection is closed
    DROP = "drop"  # nothing, closed at once
    HANG = "hang"  # nothing, kept open


@dataclass(frozen=True)
class Answer:
    """What goes back to the client: after `delay` seconds, and as `ending` says."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    ending: Ending = Ending.WHOLE


def refusal(order: Order) -> Refusal | None:
    """The rule that an order breaks, if any. The order of the rules is the API's."""
    if order.currency not in CURRENCIES:
        return Refusal.CURRENCY
    if float(order.amount) <= 0:
        return Refusal.AMOUNT
    if order.sku == UNKNOWN_SKU:
        return Refusal.CRASH
    if order.quantity > QUANTITY_LIMIT:
        return Refusal.DECLINED
    return None


_REFUSED: Mapping[Refusal, tuple[int, str]] = {
    Refusal.AMOUNT: (422, "amount must be more than zero"),
    Refusal.CURRENCY: (422, "currency is not supported"),
    Refusal.CRASH: (500, "internal error"),
    Refusal.DECLINED: (200, "declined"),
}
_TROUBLE: Mapping[Mishap, Answer] = {
    Mishap.RATE_LIMITED: Answer(429, {"error": "too many requests"}, {"Retry-After": str(RETRY_AFTER_SECONDS)}),
    Mishap.ERROR_500: Answer(500, {"error": "internal error"}),
    Mishap.ERROR_503: Answer(503, {"error": "overloaded"}),
    Mishap.ERROR_IN_200: Answer(200, {"status": "error", "error": "try again"}),
    Mishap.HANG: Answer(200, {}, ending=Ending.HANG),
    Mishap.DROP: Answer(200, {}, ending=Ending.DROP),
}
_ENDINGS: Mapping[Mishap, Ending] = {
    Mishap.CHARGE_THEN_HANG: Ending.HANG,
    Mishap.CHARGE_THEN_DROP: Ending.DROP,
    Mishap.CHARGE_THEN_CUT: Ending.CUT,
}


class Api:
    """Charges orders, each idempotency key once, and misbehaves as its scripts say.

    As at Stripe, a request with a known key changes nothing and gets the first answer again, a known key with another
    body is an error, and what failed before the charge (429, 500, validation) is not remembered
    (https://docs.stripe.com/api/idempotent_requests).

    Args:
        ledger: where every request is written.
        scripts: mishaps by order id.
        seed: decides how long good answers take.
        latency: shortest and longest time of a good answer, in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        scripts: Mapping[str, Script],
        seed: int = 0,
        latency: tuple[float, float] = (0.05, 0.15),
    ) -> None:
        self._ledger = ledger
        self._scripts = scripts
        self._seed = seed
        self._latency = latency
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}  # requests so far, by order
        self._charges: dict[str, tuple[bytes, Mapping[str, object]]] = {}  # body and answer, by key
        self._next_charge = 1

    def mark(self, name: str) -> None:
        """Draw a line in the ledger."""
        self._ledger.append(Mark(name, self._now()))

    def charge(self, body: bytes, key: str) -> Answer:
        """Decide about one request, write it down, and say how to answer it.

        Args:
            body: the order as JSON.
            key: the Idempotency-Key header; empty if there was none.
        """
        try:
            order = msgspec.json.decode(body, type=Order)
            float(order.amount)
        except ValueError:  # msgspec's errors are ValueErrors too
            order = Order("", "", "", 0, "", "")
            return self._noted(order, key, BadRequest.UNREADABLE, Effect.NOTHING, Answer(400, {"error": "unreadable"}))
        # One at a time: two requests with the same key must not both find it unknown.
        with self._lock:
            return self._decide(order, body, key)

    def _decide(self, order: Order, body: bytes, key: str) -> Answer:
        before = self._seen.get(order.id, 0)
        self._seen[order.id] = before + 1
        delay = self._delay(order.id, before)
        if broken := refusal(order):
            status, error = _REFUSED[broken]
            answer = Answer(status, {"status": "error", "error": error}, delay=delay)
            return self._noted(order, key, broken, Effect.NOTHING, answer)
        script = self._scripts.get(order.id, ())
        mishap = script[before] if before < len(script) else None
        if mishap and not mishap.charges:
            return self._noted(order, key, mishap, Effect.NOTHING, _trouble(mishap, delay))
        known = self._charges.get(key) if key else None
        if known and known[0] != body:
            answer = Answer(400, {"error": "this idempotency key came with another body"})
            return self._noted(order, key, BadRequest.KEY_REUSED, Effect.NOTHING, answer)
        content = known[1] if known else self._charged(order, body, key)
        answer = Answer(
            200,
            content,
            {"Idempotent-Replayed": "true"} if known else {},
            SLOW_SECONDS if mishap is Mishap.SLOW else delay,
            _ENDINGS.get(mishap, Ending.WHOLE) if mishap else Ending.WHOLE,
        )
        return self._noted(order, key, mishap or "answered", Effect.REPLAYED if known else Effect.CHARGED, answer)

    def _charged(self, order: Order, body: bytes, key: str) -> Mapping[str, object]:
        content = {
            "status": "ok",
            "charge": f"ch_{self._next_charge:05}",
            "order": order.id,
            "amount": order.amount,
            "currency": order.currency,
        }
        self._next_charge += 1
        if key:
            self._charges[key] = (body, content)
        return content

    def _noted(self, order: Order, key: str, outcome: str, effect: Effect, answer: Answer) -> Answer:
        self._ledger.append(Request(order.id, key, outcome, effect, order.amount, order.currency, self._now()))
        return answer

    def _now(self) -> float:
        return round(time.monotonic() - self._started, 3)

    def _delay(self, order: str, before: int) -> float:
        # Drawn from the request itself, not from a stream: which request comes first must not matter.
        return random.Random(f"{self._seed} {order} {before}").uniform(*self._latency)


def _trouble(mishap: Mishap, delay: float) -> Answer:
    if mishap is Mishap.RATE_LIMITED_UNTIL:
        # A date has whole seconds, so the one asked for is the second after next: never less than a second away.
        when = formatdate(time.time() + RETRY_AFTER_SECONDS + 1, usegmt=True)
        return Answer(429, {"error": "too many requests"}, {"Retry-After": when}, delay)
    answer = _TROUBLE[mishap]
    return Answer(answer.status, answer.body, answer.headers, delay, answer.ending)
