"""Charge a day's orders through a payment API that misbehaves. Kill this at any moment and run it again: it goes on.

    ORDERS_API=http://127.0.0.1:8000 python orders.py

`perdure demo` runs it against an API that does its worst, and proves that no order was charged twice.
"""

import json
import os
import urllib.request
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

import perdure
from perdure import Retry, step, workflow

API = os.environ.get("ORDERS_API", "http://127.0.0.1:8000")


@dataclass(frozen=True)
class Order:
    """A line of orders.jsonl."""

    id: str
    customer: str
    sku: str
    quantity: int
    amount: Decimal
    currency: str


@dataclass(frozen=True)
class Receipt:
    """What the API says of a charge."""

    order: str
    charge: str
    amount: Decimal
    currency: str


@dataclass(frozen=True)
class Summary:
    """What the day came to: sums by currency, and the orders that need somebody's eyes."""

    charged: int
    totals: dict[str, Decimal]
    dead: list[str]


class Declined(Exception):
    """The API says no to this order, and would say no again."""


class Unavailable(Exception):
    """The API says that it could not do it now."""


@step
def read_orders(path: str) -> list[Order]:
    """Read the orders; in a step, so that a resumed run goes on with the same ones."""
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [Order(**{**row, "amount": Decimal(row["amount"])}) for row in rows]


@step(timeout="2s", retry=Retry(attempts=4, delay="200ms", never=Declined))
def charge(order: Order) -> Receipt:
    """Charge one order."""
    request = urllib.request.Request(
        f"{API}/charges",
        data=json.dumps(asdict(order), default=str).encode(),
        # The same key on every attempt, also after a crash: the API charges once, however often we ask.
        headers={"Content-Type": "application/json", "Idempotency-Key": perdure.idempotency_key()},
    )
    with urllib.request.urlopen(request) as response:  # raises on 4xx and 5xx
        answer = json.load(response)
    if answer["status"] != "ok":  # status 200, and yet nothing was charged
        raise Declined(answer["error"]) if answer["error"] == "declined" else Unavailable(answer["error"])
    return Receipt(order.id, answer["charge"], Decimal(answer["amount"]), answer["currency"])


@workflow
def charge_orders(path: str) -> Summary:
    """Charge all orders; one that fails for good becomes a dead letter, and the rest goes on."""
    orders = read_orders(path)
    batch = charge.map(orders, key=lambda order: order.id, concurrency=8)
    totals: dict[str, Decimal] = {}
    for receipt in batch.results:
        totals[receipt.currency] = totals.get(receipt.currency, Decimal()) + receipt.amount
    return Summary(len(batch.results), totals, [f"{letter.error} {letter.input}" for letter in batch.dead])


if __name__ == "__main__":
    summary = charge_orders(str(Path(__file__).with_name("orders.jsonl")))
    print(f"charged {summary.charged} orders:", ", ".join(f"{n} {c}" for c, n in sorted(summary.totals.items())))
    print(f"dead letters: {len(summary.dead)}", *summary.dead, sep="\n  ")
