"""Bring a day's orders into a database and tell a shipper of each: whatever happens, each is there once.

    SHIPPER_API=http://127.0.0.1:8000 python upsert.py

Kill it at any moment and run it again. A step that was under way is made again, so both of its effects are such that
making them again changes nothing: the row has a natural key, the order's number, and is written with an upsert; the
request carries an idempotency key, by which the shipper knows that it has seen it before.
"""

import json
import os
import sqlite3
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import perdure
from perdure import Retry, step, workflow

API = os.environ.get("SHIPPER_API", "http://127.0.0.1:8000")
DATABASE = os.environ.get("ORDERS_DB", str(Path(__file__).with_name("orders.db")))

UPSERT = """
INSERT INTO orders (number, customer, amount, parcel) VALUES (?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET customer = excluded.customer, amount = excluded.amount, parcel = excluded.parcel
"""


@dataclass(frozen=True)
class Order:
    """What a customer ordered."""

    number: str
    customer: str
    amount: int


@step
def create_table() -> None:
    """Make the table; twice is as good as once."""
    with sqlite3.connect(DATABASE) as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, customer TEXT, amount INTEGER, parcel TEXT)"
        )
    database.close()


@step
def read_orders(day: str) -> list[Order]:
    """The day's orders; made up here."""
    return [Order(f"{day}-{n:03}", f"customer {n % 7}", 100 + n) for n in range(20)]


@step(timeout="10s", retry=Retry(delay="200ms"))
def ship(order: Order) -> str:
    """Ask for a parcel; the answer is the parcel's number."""
    request = urllib.request.Request(
        f"{API}/parcels",
        data=json.dumps({"order": order.number}).encode(),
        # The same on every attempt of this call, also after a crash: asked again, the shipper gives the first answer.
        headers={"Content-Type": "application/json", "Idempotency-Key": perdure.idempotency_key()},
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["parcel"])


@step
def store(order: Order, parcel: str) -> None:
    """Write the order down: a new row, or the same row again."""
    database = sqlite3.connect(DATABASE, timeout=30)
    with database:
        database.execute(UPSERT, (order.number, order.customer, order.amount, parcel))
    database.close()


@workflow
def bring_in(day: str) -> int:
    """Bring in all orders of a day."""
    create_table()
    orders = read_orders(day)
    for order in orders:
        store(order, ship(order))
    return len(orders)


if __name__ == "__main__":
    print(f"brought in {bring_in('2026-11-23')} orders")
