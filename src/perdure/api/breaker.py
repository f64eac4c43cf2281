"""Circuit breakers: `@step(breaker="stripe")`, or alone, around any call."""

from __future__ import annotations

import math

from perdure.api.guard import CallGuard, guards_here
from perdure.api.options import checked_name
from perdure.core.durations import Duration, seconds
from perdure.core.policies.breaker import BreakerPolicy, BreakerState, Mode
from perdure.core.policies.guard import Guard, WhenOpen
from perdure.errors import OptionError


class Breaker(CallGuard):
    """A circuit breaker: calls of a service that keeps failing are held back, until a probe finds it well again.

    It is closed, and lets everybody through; open, and lets nobody; half-open after the cool-down, and lets exactly
    `probes` through, however many wait. All threads, tasks and processes on a state file share the breakers in it by
    their names, and find them as they were after a restart or a SIGKILL.

    Failures are errors that may heal: a lost connection, a timeout, HTTP 5xx. HTTP 429 and other 4xx do not count, and
    neither do errors of the program itself (a TypeError, say).

    Give it to steps, as `@step(breaker=Breaker("stripe", ...))`, or use it alone: `with breaker:`, `async with
    breaker:`, `@breaker` above a function, `breaker.call(function, argument)`.

    Args:
        name: of the service; who uses the same name shares the state, and should use the same options.
        failures: so many failures in a row open it; by default 3, and with a `ratio` no number does.
        ratio: such a part of the calls within `window`, from 0 to 1, opens it by failing. Each call is a write then.
        window: how far back the ratio looks.
        minimum: the ratio is not looked at before there were so many calls.
        cooldown: how long it stays open before it lets probes through.
        cooldown_factor: what the cool-down is multiplied by each time a probe fails; 1: it does not grow. (Finagle's
            failure accrual backs off in the same way, from 5 s to 300 s; Envoy's outlier detection ends at 300 s too.)
        cooldown_cap: the longest that the cool-down grows.
        probes: so many calls are let through after the cool-down. If all succeed it closes; if one fails, it is open
            for another cool-down. The probe of a process that dies is free at once.
        when_open: "wait" for it, within `total`; or "fail" at once with BreakerOpen. By default steps wait, and calls
            outside of steps fail. Neither uses an attempt of a step.
        total: how long a call outside of a step waits at most; for a step it is its policy's, `Retry(total=...)`.

    Raises:
        OptionError: an option is not valid.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int | None = None,
        ratio: float | None = None,
        window: Duration = "60s",
        minimum: int = 10,
        cooldown: Duration = "30s",
        cooldown_factor: float = 1,
        cooldown_cap: Duration = "5m",
        probes: int = 1,
        when_open: WhenOpen | None = None,
        total: Duration = "15m",
    ) -> None:
        if when_open not in (None, "wait", "fail"):
            raise OptionError(f"when_open is {when_open!r}", 'it is "wait" or "fail"')
        if failures is None and ratio is None:
            failures = 3
        self._policy = BreakerPolicy(
            failures=None if failures is None else _whole(failures, "failures"),
            ratio=None if ratio is None else _part(ratio),
            window=_time(window, "window"),
            minimum=_whole(minimum, "minimum"),
            cooldown=_time(cooldown, "cooldown"),
            cooldown_factor=_factor(cooldown_factor),
            cooldown_cap=_time(cooldown_cap, "cooldown_cap"),
            probes=_whole(probes, "probes"),
        )
        self._when_open = when_open
        guard = Guard(checked_name(name, "breaker"), self._policy, when_open or "fail")
        super().__init__(guard, seconds(total, option="total"))

    @property
    def _for_steps(self) -> Guard:
        """What guards a step that was given this breaker."""
        return Guard(self.name, self._policy, self._when_open or "wait")

    @property
    def state(self) -> Mode:
        """How it stands: "closed", "open" (also when the cool-down is over and nobody has called), "half-open", or
        "isolated"."""
        state = guards_here().services.about(self.name).get("breaker")
        return state.mode if isinstance(state, BreakerState) else "closed"

    def reset(self) -> None:
        """Close it, forget the failures, and end a pause after HTTP 429."""
        guards_here().reset(self.name)

    def isolate(self) -> None:
        """Let nobody through, until it is reset."""
        guards_here().isolate(self.name)

    def __repr__(self) -> str:
        return f"Breaker({self.name!r})"


def breaker_of(value: str | Breaker) -> Breaker:
    """The breaker that an option's value stands for.

    Raises:
        OptionError: it is neither a breaker nor the name of one.
    """
    if isinstance(value, Breaker):
        return value
    if not isinstance(value, str):
        raise OptionError(f"breaker is {value!r}", 'give the name of a service, or Breaker("name", ...)')
    return Breaker(value)


def _whole(value: int, option: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"{option} is {value!r}", "give a whole number of at least 1")
    return value


def _part(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise OptionError(f"ratio is {value!r}", "give a part of all calls: more than 0, and at most 1; 0.5 is half")
    return float(value)


def _factor(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < math.inf:
        raise OptionError(f"cooldown_factor is {value!r}", "give a number from 1 (1: the cool-down does not grow)")
    return float(value)


def _time(value: Duration, option: str) -> float:
    length = seconds(value, option=option)
    if length == 0:
        raise OptionError(f"{option} is 0", "give some time")
    return length
