"""The orders of the demo, and which of its claims do not hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from perdure.demo.api import Order
from perdure.demo.proof import Claim

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDERS = (EXAMPLES / "orders.jsonl").read_bytes().splitlines()
SEED = 7


def decoded(lines: Sequence[bytes]) -> list[Order]:
    return [msgspec.json.decode(line, type=Order) for line in lines]


def broken(claims: Sequence[Claim]) -> set[str]:
    return {claim.name for claim in claims if not claim.holds}
