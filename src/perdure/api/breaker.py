"""Circuit breakers: `@step(breaker="stripe")`, or without a workflow, around any call."""

from __future__ import annotations

import math

from perdure.api.builtin import builtin
from perdure.api.guard import CallGuard, guards_here
from perdure.api.options import checked_name
from perdure.api.recorded_answers import answer, asked
from perdure.core.durations import Duration, seconds
from perdure.core.policies.breaker import BreakerPolicy, BreakerState, Mode
from perdure.core.policies.guard import Guard, WhenOpen
from perdure.errors import OptionError


class Breaker(CallGuard):
    """A circuit breaker: stops calls to a service that keeps failing, until a probe succeeds.

    While it is closed, all calls pass. While it is open, none does. After the cool-down it is half-open: exactly
    `probes` calls pass, whatever the number of callers (Nygard, "Release It!", 2007). All threads, tasks and processes
    on a state file share a breaker by its name. Its state survives a restart and a SIGKILL.

    A failure is a transient error: a lost connection, a timeout, HTTP 5xx. HTTP 429 and other 4xx do not count,
    nor do errors of the program itself (a TypeError).

    Give it to steps, `@step(breaker=Breaker("stripe", ...))`, or use it alone: `with breaker:`, `async with breaker:`,
    `@breaker` above a function, `breaker.call(function, argument)`.

    Durations are seconds, a timedelta, or text such as "30s" or "5m".

    Args:
        name: of the service. Breakers of the same name share one state, and should have the same options.
        failures: this many failures in a row open it. Default: 3; with a `ratio`, None: only the ratio opens it.
        ratio: this part of the calls within `window`, more than 0 and at most 1, opens it by failing. With a ratio each
            call writes to the state file.
        window: the time that the ratio is taken over.
        minimum: the ratio counts from this many calls within the window on.
        cooldown: the time that it stays open before probes pass.
        cooldown_factor: the cool-down is multiplied by this each time a probe fails; 1: it does not grow. (Finagle's
            failure accrual backs off likewise, from 5 s to 300 s; Envoy's outlier detection ends at 300 s too.)
        cooldown_cap: the longest that a growing cool-down gets.
        probes: this many calls pass after the cool-down. If all succeed the breaker closes; if one fails, it opens for
            another cool-down. The probe of a process that dies is free at once.
        when_open: "wait": a call waits until it may pass, within `total`. "fail": it raises BreakerOpen at once.
            Default: steps wait, calls outside of steps fail. Neither uses up an attempt of the step.
        total: the longest that a call outside of a step waits. A step waits within its `Retry(total=...)`.

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
            raise OptionError(f"when_open is {when_open!r}", 'give "wait" or "fail"')
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
        """The guard of a step with this breaker: other than a call alone, it waits by default."""
        return Guard(self.name, self._policy, self._when_open or "wait")

    @property
    def state(self) -> Mode:
        """The state in the state file: "closed", "open", "half-open" or "isolated".

        After the cool-down it remains "open" until the next call. In a workflow it is recorded, as are `reset` and
        `isolate`: a resumed run sees what it saw, and does not do it again.

        Raises:
            StateError: the state file cannot be used.
        """
        found: Mode = answer(_state, guards_here(), self.name)
        return found

    def reset(self) -> None:
        """Close it: forget the failures, and end a pause after HTTP 429.

        Raises:
            StateError: the state file cannot be used.
        """
        answer(_reset, guards_here(), self.name)

    def isolate(self) -> None:
        """Let no call pass until `reset`, for instance while the service is being repaired.

        Raises:
            StateError: the state file cannot be used.
        """
        answer(_isolate, guards_here(), self.name)

    def __repr__(self) -> str:
        return f"Breaker({self.name!r})"


@builtin("perdure.breaker.state", in_place=True)
def _state(name: str) -> Mode:
    state = asked().services.about(name).get("breaker")
    return state.mode if isinstance(state, BreakerState) else "closed"


@builtin("perdure.breaker.reset", in_place=True)
def _reset(name: str) -> None:
    asked().reset(name)


@builtin("perdure.breaker.isolate", in_place=True)
def _isolate(name: str) -> None:
    asked().isolate(name)


def breaker_of(value: str | Breaker) -> Breaker:
    """The breaker that the value of the option `breaker` stands for.

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
        raise OptionError(f"{option} is 0", "give a duration of more than 0")
    return length
