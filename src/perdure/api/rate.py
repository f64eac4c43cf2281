"""Rate limits: `@step(rate="10/s")`, or alone, around any call."""

from __future__ import annotations

import msgspec

from perdure.api.breaker import Breaker, breaker_of
from perdure.api.guard import CallGuard
from perdure.api.options import checked_name
from perdure.core.policies.guard import Guard
from perdure.core.policies.rate import parse
from perdure.errors import OptionError

PATIENCE = 900.0
"""Seconds that a caller waits at most after a 429 before it asks again, or gives up; as `Retry.total`."""


class Rate(CallGuard):
    """So many calls in so much time, and no bursts: each caller waits for its turn, in the order of asking.

    All threads, tasks and processes on a state file share the limits in it by their names. Calls are spread evenly
    ("10/s" is one each tenth of a second, and a little more, so that no second ever holds eleven). After HTTP 429 all
    callers pause, for as long as the server says.

    A step takes the text: `@step(rate="10/s")`. This is for code outside of steps: `with rate:`, `async with rate:`,
    `@rate` above a function, `rate.call(function, argument)`.

    Args:
        limit: "10/s", "100/min", "5/2s", "1000/h" or "1000/d".
        name: of what is limited; who uses the same name shares the limit. The name of a step: shared with its calls.

    Raises:
        OptionError: an option is not valid.
    """

    def __init__(self, limit: str, *, name: str) -> None:
        checked_name(name, "rate")
        rate = parse(limit)
        super().__init__(Guard(name, rate=rate, step=name), PATIENCE)
        self._limit = limit

    def __repr__(self) -> str:
        return f"Rate({self._limit!r}, name={self.name!r})"


def guard_of(step: str, breaker: str | Breaker | None, rate: str | Rate | None) -> Guard:
    """What guards the calls of a step that was given a breaker, a rate, or both.

    Raises:
        OptionError: one of them is not valid.
    """
    if rate is not None and not isinstance(rate, str | Rate):
        raise OptionError(f"rate is {rate!r}", 'give a text such as "10/s", or Rate("10/s", name=...)')
    limit = Rate(rate, name=step) if isinstance(rate, str) else rate
    if breaker is None:
        assert limit is not None
        return limit._guard
    guard = breaker_of(breaker)._for_steps
    return guard if limit is None else msgspec.structs.replace(guard, rate=limit._guard.rate, step=limit.name)
