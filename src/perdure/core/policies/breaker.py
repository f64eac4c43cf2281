"""A circuit breaker: stops calls to a service that keeps failing, until a probe succeeds.

Nygard, "Release It!" (2007), with what many callers in many processes add: exactly the permitted probes while it is
half-open (one caller has the lease of a probe, the others go on waiting), and a late report of a call that began before
the last change of the breaker changes nothing.

Everything here is a function from a state to a state; `store/services.py` keeps the states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

Mode = Literal["closed", "open", "half-open", "isolated"]
Grade = Literal["success", "answered", "failure", "throttled", "unknown"]
"""What the end of a call says about the service. "answered": it refused the call, so it is up (an HTTP 4xx);
"throttled": it asked to wait; "unknown": an error of the program itself, which says nothing."""

MOMENT = 1.0
"""Seconds. A clock that is behind what was written down by more has been set back; by less, two looks at it crossed."""
BUCKETS = 10


class BreakerPolicy(msgspec.Struct, frozen=True):
    """When a breaker opens, and for how long.

    Attributes:
        failures: so many consecutive failures open it; None: only the ratio does.
        ratio: such a part of the calls of the last `window` seconds open it by failing, once there are `minimum` calls.
        cooldown: seconds until it lets probes through.
        cooldown_factor: what the cool-down is multiplied by each time that probes fail.
        cooldown_cap: seconds that a grown cool-down does not exceed.
        probes: so many calls are let through after the cool-down. It closes when all have succeeded, as gobreaker
            does it with MaxRequests; the first that fails opens it again.
    """

    failures: int | None = 3
    ratio: float | None = None
    window: float = 60.0
    minimum: int = 10
    cooldown: float = 30.0
    cooldown_factor: float = 1.0
    cooldown_cap: float = 300.0
    probes: int = 1


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """The calls that ended within a tenth of the window, from `start` on."""

    start: float
    calls: int
    failures: int


class BreakerState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a breaker.

    Attributes:
        changed: the time of the last change, in seconds since the epoch, as all times here.
        mode: "isolated" was ordered by a person, and ends by `reset`.
        generation: counts the changes of mode.
        consecutive: failures since the last success.
        until: when the cool-down ends; `cooldown` is how long it is in all.
        streak: openings since it was last closed; `openings`: in all.
        leases: the probes under way: the lease, and the process that has it.
        passed: probes that have succeeded since the cool-down.
        window: the calls of late, if a ratio is looked at.
        error: the last failure, as one line.
        since: when it was opened first since it was last closed; 0 while it is closed.
        alerted: an alert was sent because it has been open for long.
    """

    changed: float = 0.0
    mode: Mode = "closed"
    generation: int = 0
    consecutive: int = 0
    until: float = 0.0
    cooldown: float = 0.0
    streak: int = 0
    openings: int = 0
    leases: dict[str, str] = {}
    passed: int = 0
    window: list[Bucket] = []
    error: str = ""
    since: float = 0.0
    alerted: bool = False


class Ticket(msgspec.Struct, frozen=True):
    """A call was let through: in which generation, and under which lease if it is a probe."""

    generation: int = 0
    lease: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """A call was not let through. `seconds` until the cool-down ends; None if that is not known."""

    mode: Mode
    seconds: float | None = None


def peek(state: BreakerState, now: float) -> Refusal | None:
    """Why a call would be refused now, as far as the state alone says; None if it may pass."""
    if state.mode == "closed" or state.mode == "half-open":
        return None
    if state.mode == "isolated":
        return Refusal("isolated")
    left = rebased(state, now).until - now
    return Refusal("open", left) if left > 0 else None


def admit(
    state: BreakerState, policy: BreakerPolicy, now: float, lease: str, holder: str, alive: Callable[[str], bool]
) -> tuple[BreakerState, Ticket | Refusal]:
    """Let a call through, or not.

    Args:
        state: of the breaker.
        policy: the caller's.
        now: the time.
        lease: what the lease is to be called if the call becomes a probe; never used before.
        holder: the process that asks.
        alive: whether the process of that name lives; asked only about those that have leases.
    """
    if state.mode == "closed":
        return state, Ticket(state.generation)
    if state.mode == "isolated":
        return state, Refusal("isolated")
    state = rebased(state, now)
    if state.mode == "open":
        if state.until > now:
            return state, Refusal("open", state.until - now)
        state = _changed(state, now, mode="half-open", leases={}, passed=0)
    leases = state.leases
    if len(leases) + state.passed >= policy.probes:
        leases = {one: whose for one, whose in leases.items() if alive(whose)}
    if len(leases) + state.passed >= policy.probes:
        return state, Refusal("half-open")
    state = msgspec.structs.replace(state, changed=now, leases={**leases, lease: holder})
    return state, Ticket(state.generation, lease)


def report(
    state: BreakerState, policy: BreakerPolicy, now: float, ticket: Ticket, grade: Grade, error: str = ""
) -> BreakerState:
    """A call that was let through has ended; the very same state if that changes nothing.

    Args:
        state: of the breaker.
        policy: the caller's.
        now: the time.
        ticket: what the call was let through with.
        grade: what it says about the service.
        error: a failure, as one line.
    """
    if ticket.generation != state.generation:
        return state
    if state.mode == "closed":
        return _counted(state, policy, now, grade, error)
    if ticket.lease not in state.leases:
        return state
    state = rebased(state, now)
    leases = {one: whose for one, whose in state.leases.items() if one != ticket.lease}
    if grade == "failure":
        return _opened(state, policy, now, error)
    if grade in ("throttled", "unknown"):
        return msgspec.structs.replace(state, changed=now, leases=leases)
    if state.passed + 1 < policy.probes:
        return msgspec.structs.replace(state, changed=now, leases=leases, passed=state.passed + 1)
    return reset(state, now)


def reset(state: BreakerState, now: float) -> BreakerState:
    """Close it, and forget the failures."""
    closed = _changed(state, now, mode="closed", leases={}, passed=0)
    return msgspec.structs.replace(
        closed, consecutive=0, streak=0, until=0.0, cooldown=0.0, window=[], since=0.0, alerted=False
    )


def overdue(state: BreakerState, now: float, seconds: float) -> bool:
    """Whether it has been open for so many seconds, failed probes included, without an alert."""
    return (
        state.mode in ("open", "half-open") and not state.alerted and bool(state.since) and now - state.since >= seconds
    )


def mark_alerted(state: BreakerState, now: float, seconds: float) -> tuple[BreakerState, bool]:
    """The state with an alert marked as sent, if one is due; and whether it is."""
    if not overdue(state, now, seconds):
        return state, False
    return msgspec.structs.replace(state, alerted=True), True


def isolate(state: BreakerState, now: float) -> BreakerState:
    """Let no call pass until it is reset."""
    return _changed(state, now, mode="isolated", leases={}, passed=0)


def _counted(state: BreakerState, policy: BreakerPolicy, now: float, grade: Grade, error: str) -> BreakerState:
    if grade in ("throttled", "unknown"):
        return state
    failed = grade == "failure"
    if not failed and state.consecutive == 0 and policy.ratio is None:
        return state
    state = rebased(state, now)
    consecutive = state.consecutive + 1 if failed else 0
    window = _noted(state.window, policy, now, failed) if policy.ratio is not None else state.window
    state = msgspec.structs.replace(
        state, changed=now, consecutive=consecutive, window=window, error=error if failed else state.error
    )
    too_many = policy.failures is not None and consecutive >= policy.failures
    return _opened(state, policy, now, error) if failed and (too_many or _over_ratio(window, policy)) else state


def _noted(window: list[Bucket], policy: BreakerPolicy, now: float, failed: bool) -> list[Bucket]:
    """The window, with one more call counted."""
    kept = [bucket for bucket in window if bucket.start > now - policy.window]
    if kept and now < kept[-1].start + policy.window / BUCKETS:
        last = kept.pop()
        return [*kept, Bucket(last.start, last.calls + 1, last.failures + failed)]
    return [*kept, Bucket(now, 1, int(failed))]


def _over_ratio(window: list[Bucket], policy: BreakerPolicy) -> bool:
    if policy.ratio is None:
        return False
    calls = sum(bucket.calls for bucket in window)
    return calls >= policy.minimum and sum(bucket.failures for bucket in window) >= policy.ratio * calls


def _opened(state: BreakerState, policy: BreakerPolicy, now: float, error: str) -> BreakerState:
    try:
        grown = policy.cooldown * policy.cooldown_factor**state.streak
    except OverflowError:
        grown = policy.cooldown_cap
    cooldown = min(grown, max(policy.cooldown_cap, policy.cooldown))
    state = _changed(state, now, mode="open", leases={}, passed=0)
    return msgspec.structs.replace(
        state,
        until=now + cooldown,
        cooldown=cooldown,
        streak=state.streak + 1,
        openings=state.openings + 1,
        consecutive=max(state.consecutive, 1),
        window=[],
        error=error,
        since=state.since or now,
    )


def _changed(state: BreakerState, now: float, *, mode: Mode, leases: dict[str, str], passed: int) -> BreakerState:
    return msgspec.structs.replace(
        state, changed=now, mode=mode, generation=state.generation + 1, leases=leases, passed=passed
    )


def rebased(state: BreakerState, now: float) -> BreakerState:
    """The state by a clock that was set back: what is left of the cool-down is left still, and no more than all of it.

    (Set forward, the cool-down is over early, which lets the permitted probes pass and no other call.)
    """
    back = state.changed - now
    if back > MOMENT:
        window = [Bucket(bucket.start - back, bucket.calls, bucket.failures) for bucket in state.window]
        state = msgspec.structs.replace(state, changed=now, until=state.until - back, window=window)
    if state.until > now + state.cooldown:
        state = msgspec.structs.replace(state, changed=now, until=now + state.cooldown)
    return state
