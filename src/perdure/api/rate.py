"""Rate limits: `@step(rate="10/s")`, or without a workflow, around any call."""

from __future__ import annotations

import msgspec

from perdure.api.breaker import Breaker, breaker_of
from perdure.api.guard import CallGuard
from perdure.api.options import checked_name
from perdure.core.policies.guard import Guard
from perdure.core.policies.rate import parse
from perdure.errors import OptionError

PATIENCE = 900.0
"""Seconds that a call waits at most after a 429, as `Retry.total`."""


class Rate(CallGuard):
    """A rate limit without bursts: each call waits for its turn, in the order of arrival.

    All threads, tasks and processes on a state file share a limit by its name. Calls are spread evenly: "10/s" is one
    call each 0.1 s and a little more, so that no second ever has eleven (generic cell rate algorithm, ITU-T I.371,
    annex A). After HTTP 429 all callers pause for as long as the server says.

    A step takes the text, `@step(rate="10/s")`, or a `Rate` that it shares with other steps. Alone: `with rate:`,
    `async with rate:`, `@rate` above a function, `rate.call(function, argument)`.

    Args:
        limit: "10/s", "100/min", "5/2s", "1000/h" or "1000/d".
        name: of what is limited. Rates of the same name share one limit; the name of a step shares the limit of its
            calls.

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
    """The guard of a step with a breaker, a rate, or both.

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
