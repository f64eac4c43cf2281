"""Lets calls through to their services, or not: the core's decisions on what all processes of a state file share."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
from pathlib import Path
from typing import Any, Protocol

from perdure.core.execution.effects import Report
from perdure.core.policies import breaker, rate
from perdure.core.policies.breaker import BreakerPolicy, BreakerState, Refusal, Ticket
from perdure.core.policies.guard import Guard, Hold, Pass, Why
from perdure.core.policies.rate import PauseState, Turn
from perdure.engines.runtime.clock import RealWorld, World
from perdure.store.liveness import Liveness
from perdure.store.services import Services

SPREAD = 0.1
"""Those who wait come back within such a part of the cool-down (or of the pause) after it has ended."""
APART = 0.02
"""Seconds; if there are many in this process, at most about one comes back in so many."""
LONGEST_SPREAD = 3.0
LONGEST_LOOK = 1.0
"""Seconds between two looks at a breaker that a probe or a person may close at any moment."""


CLOSED = BreakerState()


class Lookout(Protocol):
    """What alerts people about breakers."""

    @property
    def patience(self) -> float | None:
        """Seconds that one may be open before an alert; None if there is no target."""

    def opened(self, service: str, state: BreakerState) -> None:
        """It has been open for too long."""

    def closed(self, service: str) -> None:
        """It has closed, after an alert that it was open."""


class Guards:
    """What this process knows of the services that it calls.

    Args:
        state: the state file.
        world: time.
    """

    def __init__(self, state: Path, world: World) -> None:
        self._now = world.now
        self.services = Services(state, world.now)
        self.presence = Liveness(state)
        self._numbers = itertools.count(1)
        self._crowds: dict[str, tuple[float, int]] = {}
        self.lookout: Lookout | None = None

    def admit(self, guard: Guard, turn: Turn | None = None) -> Pass | Hold:
        """May a call go now?

        Args:
            guard: what its step is guarded by.
            turn: the slot that it has reserved.

        Raises:
            StateError: the file of the services cannot be used.
        """
        known = self.services.about(guard.service)
        hold = self._refused(guard, known)
        if hold is not None:
            return hold
        if guard.rate is not None:
            limit, pause = guard.rate, known.get("pause")
            if turn is not None and isinstance(pause, PauseState) and turn.at < pause.until:
                turn = None  # it came while everybody paused: queue up again
            wait = self.services.update("rate", guard.step, lambda state, now: rate.take(state, limit, now, turn))
            if wait is not None:
                return Hold("rate", wait.seconds, turn=wait.turn)
        if guard.breaker is None:
            return Pass(Ticket())
        state = known.get("breaker")
        if not isinstance(state, BreakerState):
            return Pass(Ticket())
        if state.mode == "closed":
            return Pass(Ticket(state.generation))
        return self._probe(guard.service, guard.breaker)

    def _refused(self, guard: Guard, known: dict[str, Any]) -> Hold | None:
        """What there is no need to ask for."""
        pause = known.get("pause")
        if pause is not None:
            seconds = rate.left(pause, self._now())
            if seconds > rate.TINY:
                if rate.rebased_pause(pause, self._now()) is not pause:
                    self.services.update(
                        "pause", guard.service, lambda pause, now: (rate.rebased_pause(pause, now), None)
                    )
                crowd = 0 if guard.rate is not None else self._crowd(guard.service, pause.until, more=1)
                return Hold("paused", seconds, _spread(seconds, crowd))
        state = known.get("breaker")
        if guard.breaker is None or state is None or state.mode == "closed":
            return None
        now = self._now()
        refused = breaker.peek(state, now)
        if refused is None:
            return None
        if breaker.rebased(state, now) is not state:
            # What is left by a clock that was set back is left from now on, and not from each look on.
            self.services.update("breaker", guard.service, lambda state, now: (breaker.rebased(state, now), None))
        return self._hold(guard.service, guard.breaker, refused, state)

    def _probe(self, name: str, policy: BreakerPolicy) -> Pass | Hold:
        presence = self.presence
        holder = presence.show()
        lease = f"{holder}/{next(self._numbers)}"

        def ask(state: BreakerState, now: float) -> tuple[BreakerState, tuple[Ticket | Refusal, BreakerState]]:
            after, answer = breaker.admit(state, policy, now, lease, holder, presence.lives)
            return after, (answer, after)

        answer, state = self.services.update("breaker", name, ask)
        return Pass(answer) if isinstance(answer, Ticket) else self._hold(name, policy, answer, state)

    def _hold(self, name: str, policy: BreakerPolicy, refused: Refusal, state: BreakerState) -> Hold:
        self._notice(name, state)
        if refused.seconds is not None:
            crowd = self._crowd(name, state.openings, more=1)
            return Hold("open", refused.seconds, _spread(policy.cooldown, crowd), error=state.error)
        look = max(min(policy.cooldown * SPREAD, LONGEST_LOOK), APART * self._crowd(name, state.openings))
        why: Why = "isolated" if refused.mode == "isolated" else "half-open"
        return Hold(why, look / 2, look, error=state.error)

    def _notice(self, name: str, state: BreakerState) -> None:
        """Have a breaker that stays open alerted once, by whichever process."""
        lookout = self.lookout
        seconds = None if lookout is None else lookout.patience
        if lookout is None or seconds is None or not breaker.overdue(state, self._now(), seconds):
            return
        if self.services.update("breaker", name, lambda state, now: breaker.mark_alerted(state, now, seconds)):
            lookout.opened(name, state)

    def _crowd(self, name: str, occasion: float, more: int = 0) -> int:
        """How many calls of this process were made to wait on this occasion. Roughly: it is counted without a lock."""
        last, crowd = self._crowds.get(name, (occasion, 0))
        crowd = (crowd if last == occasion else 0) + more
        self._crowds[name] = (occasion, crowd)
        return crowd

    def report(self, effect: Report) -> None:
        """A call has ended.

        Raises:
            StateError: the file of the services cannot be used.
        """
        guard, policy = effect.guard, effect.guard.breaker
        if effect.pause is not None:
            seconds = effect.pause

            def pause(state: PauseState, now: float) -> tuple[PauseState, None]:
                return rate.pause(state, now, seconds), None

            self.services.update("pause", guard.service, pause)
        if policy is None:
            return
        ticket, grade = effect.ticket, effect.grade
        state: Any = self.services.about(guard.service).get("breaker", CLOSED)
        if breaker.report(state, policy, self._now(), ticket, grade, effect.error) is state:
            return  # as nearly always, and worth no write

        def change(state: BreakerState, now: float) -> tuple[BreakerState, tuple[BreakerState, bool]]:
            after = breaker.report(state, policy, now, ticket, grade, effect.error)
            return after, (after, state.alerted and not after.alerted)

        after, well = self.services.update("breaker", guard.service, change)
        if well and self.lookout is not None:
            self.lookout.closed(guard.service)
        self._notice(guard.service, after)

    def give_back(self, guard: Guard, ticket: Ticket) -> None:
        """A call was broken off: that says nothing about the service, and another may probe it."""
        if ticket.lease:
            self.report(Report(guard, ticket, "unknown"))

    def reset(self, name: str) -> None:
        """Close a breaker, and end the pause of its service."""
        known = self.services.about(name)
        if "breaker" in known:
            self.services.update("breaker", name, lambda state, now: (breaker.reset(state, now), None))
        if "pause" in known:
            self.services.update("pause", name, lambda state, now: (PauseState(now), None))

    def isolate(self, name: str) -> None:
        """Let no call through a breaker until it is reset."""
        self.services.update("breaker", name, lambda state, now: (breaker.isolate(state, now), None))

    def close(self) -> None:
        """Close the file, and let go of all leases."""
        self.services.close()
        self.presence.close()


def _spread(seconds: float, crowd: int) -> float:
    """How far those who wait come back apart, such that they do not run down what has just got up."""
    return max(min(seconds * SPREAD, LONGEST_SPREAD), min(crowd * APART, seconds))


_alone: dict[Path, Guards] = {}
_lock = threading.Lock()


def guards_at(path: Path) -> Guards:
    """What this process knows of the services that it calls outside workflows; there is one for each state file."""
    with _lock:
        guards = _alone.get(path)
        if guards is None:
            guards = _alone[path] = Guards(path, RealWorld())
        return guards


def _close_all() -> None:
    while _alone:
        _alone.popitem()[1].close()


def _after_fork() -> None:
    # As for engines: a SQLite connection must not cross a fork, and the parent's lock is not the child's.
    global _lock
    _lock = threading.Lock()
    for guards in _alone.values():
        guards.presence.forget()
        _orphans.append(guards)
    _alone.clear()


_orphans: list[Guards] = []
"""Kept in a forked child, so that the parent's connections are not closed in it."""

atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
