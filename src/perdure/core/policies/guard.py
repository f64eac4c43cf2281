"""What a call has to pass before it reaches a service: a breaker, a rate limit, and a pause after HTTP 429."""

from __future__ import annotations

from shlex import quote
from typing import Literal

import msgspec

from perdure.core.durations import show
from perdure.core.policies.breaker import BreakerPolicy, Grade, Ticket
from perdure.core.policies.classify import Assessment
from perdure.core.policies.rate import Rate, Turn
from perdure.errors import BreakerOpen

WhenOpen = Literal["wait", "fail"]
Why = Literal["open", "half-open", "isolated", "paused", "rate"]


class Guard(msgspec.Struct, frozen=True):
    """What guards the calls of a step.

    Attributes:
        service: what is called: the breaker's name, or the step's if it has none. After HTTP 429 all its callers pause.
        breaker: the policy of its breaker, if it has one.
        when_open: what a call does that meets the open breaker: wait for it within its bound, or fail at once.
        rate: the limit, if it has one; shared by all steps of the name `step`.
    """

    service: str
    breaker: BreakerPolicy | None = None
    when_open: WhenOpen = "wait"
    rate: Rate | None = None
    step: str = ""


class Pass(msgspec.Struct, frozen=True):
    """The call may go, and its end is to be reported with that ticket."""

    ticket: Ticket


class Hold(msgspec.Struct, frozen=True):
    """The call may not go yet.

    Attributes:
        why: what holds it.
        seconds: after which it is worth asking again.
        spread: up to so many more, at random: callers that wait for the same must not return at the same moment.
        turn: to be brought along then.
        error: the last failure that the breaker has seen, as one line.
    """

    why: Why
    seconds: float
    spread: float = 0.0
    turn: Turn | None = None
    error: str = ""


def grade(error: Exception | None, assessment: Assessment | None) -> Grade:
    """What the end of a call says about the service that it called.

    Transient errors and HTTP 5xx are failures of the service. HTTP 429 is not, nor is any other 4xx, which answers
    something that the caller did wrong. The program's own errors (a TypeError, a value that cannot be stored) and a
    breaker further inside say nothing.
    """
    if error is None or assessment is None:
        return "success"
    if isinstance(error, BreakerOpen):
        return "unknown"
    status = assessment.status
    if status is not None and status >= 500:
        return "failure"
    if assessment.kind == "throttled":
        return "throttled"
    if status is not None:
        return "answered"
    return "failure" if assessment.kind == "transient" else "unknown"


def refusal(guard: Guard, hold: Hold) -> BreakerOpen:
    """The error for a call that may not go, and does not wait any longer."""
    name, soon = guard.service, f"for {show(hold.seconds)} yet" if hold.seconds > 0 else "at this moment"
    ways = f"wait, or close it once the service has recovered: perdure breaker reset {quote(name)}"
    if hold.why == "isolated":
        what, ways = f"breaker {name!r} is isolated", f"reset it: perdure breaker reset {quote(name)}"
    elif hold.why == "paused":
        what = f"{name!r} has asked its callers to wait (HTTP 429 or Retry-After), {soon}"
    elif hold.why == "half-open":
        what = f"breaker {name!r} is half-open: another call is probing the service"
    else:
        what = f"breaker {name!r} is open {soon}"
    last = f"; the last failure was {hold.error}" if hold.error and hold.why != "isolated" else ""
    error = BreakerOpen(f"{what}; the call was not made{last}", ways)
    error.retry_after = hold.seconds if hold.why in ("open", "paused") else None
    return error


def waiting_for(guard: Guard, hold: Hold) -> str:
    """What a call waits for, in a few words."""
    match hold.why:
        case "rate":
            return f"its turn at {guard.rate.text}" if guard.rate is not None else "its turn"
        case "paused":
            return f"{guard.service!r}, which has asked its callers to wait"
        case "isolated":
            return f"breaker {guard.service!r}, which is isolated"
        case _:
            return f"breaker {guard.service!r}, which is {hold.why}"
