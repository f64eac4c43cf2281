"""Rate limits and pauses: when a caller's turn is.

The limit is the generic cell rate algorithm (ITU-T I.371, annex A) with a burst of one: each caller reserves the
next free slot, so turns are in the order of arrival, and there are no bursts, not even after idle time.

Everything here is a function from a state to a state; `store/services.py` keeps the states.
"""

from __future__ import annotations

import msgspec

from perdure.core import durations
from perdure.core.policies.breaker import MOMENT

SLACK, LONGEST_SLACK = 0.03, 0.05
"""Slots lie further apart than the rate asks for, by this part of its period, but by no more than so many seconds of
it: a call that starts a little late must not share a window with one call too many."""
TINY = 1e-6
"""Seconds; about the resolution of a float that holds the time of day."""


class Rate(msgspec.Struct, frozen=True):
    """So many calls in so many seconds; `text` is how it was written."""

    count: int
    period: float
    text: str = ""

    @property
    def interval(self) -> float:
        """Seconds between two calls."""
        return (self.period + min(self.period * SLACK, LONGEST_SLACK)) / self.count


class RateState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a limit.

    Attributes:
        changed: the time of the last change, in seconds since the epoch, as all times here.
        free: the next slot that is not reserved.
        last: when the last call started.
        shifted: by how many seconds stored times were moved because the clock was set back.
        limit: the rate, as it was written.
    """

    changed: float = 0.0
    free: float = 0.0
    last: float = 0.0
    shifted: float = 0.0
    limit: str = ""


class Turn(msgspec.Struct, frozen=True):
    """A reserved slot, by the clock as it was when `shifted` was that."""

    at: float
    shifted: float


class Queued(msgspec.Struct, frozen=True):
    """Not yet: ask again in so many seconds, with the turn."""

    seconds: float
    turn: Turn


class PauseState(msgspec.Struct, frozen=True, omit_defaults=True):
    """No call before `until`, `seconds` after `changed`, when the service asked for the pause."""

    changed: float = 0.0
    until: float = 0.0
    seconds: float = 0.0


def parse(text: str, *, option: str = "rate") -> Rate:
    """The rate that a text stands for: "10/s", "100/min", "5/2s", "1000/h", "1000/d".

    Raises:
        OptionError: it is not a rate.
    """
    count, period = durations.rate(text, option=option)
    return Rate(count, period, text)


def take(state: RateState, rate: Rate, now: float, turn: Turn | None = None) -> tuple[RateState, Queued | None]:
    """Take a turn: go now (None), or wait (Queued).

    Args:
        state: of the limit.
        rate: the limit.
        now: the time.
        turn: the slot that the caller has reserved.
    """
    state = _rebased(state, now)
    if state.limit != rate.text:
        state = msgspec.structs.replace(state, limit=rate.text)
    if turn is None:
        at = max(now, state.free, state.last + rate.interval)
        state = msgspec.structs.replace(state, changed=now, free=at + rate.interval)
        turn = Turn(at, state.shifted)
    else:
        # The call before may have started late; the distance to its start is kept as well.
        at = max(turn.at + state.shifted - turn.shifted, state.last + rate.interval)
    if at > now + TINY:
        return state, Queued(at - now, turn)
    return msgspec.structs.replace(state, changed=now, last=now), None


def pause(state: PauseState, now: float, seconds: float) -> PauseState:
    """Start a pause of so many seconds; a longer one that is under way stays."""
    return state if left(state, now) >= seconds else PauseState(now, now + seconds, seconds)


def left(state: PauseState, now: float) -> float:
    """Seconds until the pause ends. A clock that was set back does not make it longer than it was meant to be."""
    if now < state.changed - MOMENT:
        return state.seconds
    return max(min(state.until - now, state.seconds), 0.0)


def rebased_pause(state: PauseState, now: float) -> PauseState:
    """The pause by a clock that was set back: as long as it was, from now on."""
    return PauseState(now, now + state.seconds, state.seconds) if now < state.changed - MOMENT else state


def _rebased(state: RateState, now: float) -> RateState:
    """The state by a clock that was set back: the queue is as long as it was."""
    back = state.changed - now
    if back <= MOMENT:
        return state
    return msgspec.structs.replace(
        state, changed=now, free=state.free - back, last=state.last - back, shifted=state.shifted - back
    )
