"""Which request goes wrong, and how: drawn once from a seed, so that a demo can be repeated."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from enum import StrEnum


class Mishap(StrEnum):
    """What the API does to a request in place of answering it as it should."""

    RATE_LIMITED = "429, Retry-After in seconds"
    RATE_LIMITED_UNTIL = "429, Retry-After as a date"
    ERROR_500 = "500"
    ERROR_503 = "503"
    ERROR_IN_200 = "200 with an error inside"
    SLOW = "slow answer"
    HANG = "no answer, not charged"
    DROP = "connection dropped, not charged"
    CHARGE_THEN_HANG = "charged, then no answer"
    CHARGE_THEN_DROP = "charged, then connection dropped"
    CHARGE_THEN_CUT = "charged, then answer cut in the middle"

    @property
    def charges(self) -> bool:
        """Whether the charge takes effect although the client gets no good answer."""
        return self in (Mishap.CHARGE_THEN_HANG, Mishap.CHARGE_THEN_DROP, Mishap.CHARGE_THEN_CUT, Mishap.SLOW)


Script = tuple[Mishap, ...]
"""What happens to an order's first request, its second, and so on; after the last one the API behaves."""

# How many orders in a hundred meet each script.
_SHARES: Sequence[tuple[int, Script]] = (
    (5, (Mishap.RATE_LIMITED,)),
    (2, (Mishap.RATE_LIMITED_UNTIL,)),
    (3, (Mishap.ERROR_IN_200,)),
    (3, (Mishap.SLOW,)),
    (2, (Mishap.HANG,)),
    (3, (Mishap.DROP,)),
    (3, (Mishap.CHARGE_THEN_HANG,)),
    (3, (Mishap.CHARGE_THEN_DROP,)),
    (3, (Mishap.CHARGE_THEN_CUT,)),
    (1, (Mishap.RATE_LIMITED, Mishap.CHARGE_THEN_HANG, Mishap.ERROR_503)),
    (1, (Mishap.CHARGE_THEN_CUT, Mishap.ERROR_500, Mishap.RATE_LIMITED)),
)
_BURSTS: Sequence[Script] = ((Mishap.ERROR_500,), (Mishap.ERROR_503, Mishap.ERROR_500))
_BURST_LENGTH = 7  # orders in a row, so that all requests in flight fail together


def draw(orders: Sequence[str], seed: int) -> dict[str, Script]:
    """Give some of the orders a script of mishaps.

    Every script is given to at least one order as long as there are orders enough (about 30); the shares hold above.

    Args:
        orders: ids of the orders, in the order in which they will come.
        seed: the same seed and orders give the same scripts.
    """
    rng = random.Random(seed)
    scripts: dict[str, Script] = {}
    for burst in range(math.ceil(len(orders) / 100) * len(_BURSTS)):
        start = rng.randrange(max(1, len(orders) - _BURST_LENGTH))
        for order in orders[start : start + min(_BURST_LENGTH, len(orders) // 8)]:
            scripts[order] = _BURSTS[burst % len(_BURSTS)]
    calm = [order for order in orders if order not in scripts]
    rng.shuffle(calm)
    for share, script in _SHARES:
        for _ in range(math.ceil(share * len(orders) / 100)):
            if calm:
                scripts[calm.pop()] = script
    return scripts
