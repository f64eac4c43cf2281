"""Callers in four processes around one breaker: they ask in any order, processes die, clocks jump.

An onlooker counts for itself: it sees who was let through, who has ended and who has died, and nothing of how the
breaker keeps its books.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from perdure.core.policies import breaker
from perdure.core.policies.breaker import BreakerPolicy, BreakerState, Grade, Refusal, Ticket

PROCESSES = 4
Admit = Callable[..., tuple[BreakerState, Ticket | Refusal]]


class Caller:
    """One of many; `ticket` while its call is under way."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.ticket: Ticket | None = None


class World:
    """A breaker, its callers, and what befalls them.

    Args:
        seed: of all chance.
        callers: how many, spread over four processes.
        policy: the breaker's.
        admit: how the breaker lets calls through; another one for controls.
    """

    def __init__(self, seed: int, callers: int, policy: BreakerPolicy, admit: Admit = breaker.admit) -> None:
        self.chance = random.Random(seed)
        self.policy = policy
        self.admit = admit
        self.state = BreakerState()
        self.wall = 1_800_000_000.0  # what the clocks show
        self.lives = [f"{number}-first" for number in range(PROCESSES)]
        self.callers = [Caller(number % PROCESSES) for number in range(callers)]
        self.busy: list[Caller] = []
        self.probing: set[Caller] = set()  # let through since the breaker opened
        self.leases = self.openings = self.admitted = self.lost = self.jumps = self.deaths = self.late = 0

    # -- what callers do ----------------------------------------------------------------------------------------------

    def ask(self, caller: Caller) -> bool:
        """A caller asks to be let through."""
        self.leases += 1
        holder = self.lives[caller.process]
        closed = self.state.mode == "closed"
        alive = self.lives.__contains__
        self.state, answer = self.admit(self.state, self.policy, self.wall, f"l{self.leases}", holder, alive)
        if isinstance(answer, Refusal):
            return False
        caller.ticket = answer
        self.busy.append(caller)
        if not closed:
            self.admitted += 1
            self.probing.add(caller)
            assert len(self.probing) <= self.policy.probes, "more probes at a time than permitted"
            assert self.admitted - self.lost <= self.policy.probes, "more probes after a cool-down than permitted"
        return True

    def end(self, caller: Caller, grade: Grade) -> None:
        """A call ends."""
        assert caller.ticket is not None
        before = self.state
        probe = caller in self.probing
        self.state = breaker.report(self.state, self.policy, self.wall, caller.ticket, grade, "it failed")
        if not probe and before.mode != "closed":
            self.late += 1
            assert self.state is before, "a late report has changed something"
        if probe:
            self.probing.discard(caller)
            if grade in ("throttled", "unknown"):
                self.lost += 1
        caller.ticket = None
        self.busy.remove(caller)

    def die(self, process: int) -> None:
        """A process dies, and another takes its place: all calls under way in it are gone without a word."""
        self.deaths += 1
        self.lives[process] = f"{process}-{self.deaths}"
        for caller in [each for each in self.busy if each.process == process]:
            if caller in self.probing:
                self.probing.discard(caller)
                self.lost += 1
            caller.ticket = None
            self.busy.remove(caller)

    def jump(self) -> None:
        """Somebody sets the clock."""
        self.jumps += 1
        self.wall += self.chance.choice((-1, 1)) * 10 ** self.chance.uniform(-1, 6)

    # -- the life of the breaker --------------------------------------------------------------------------------------

    def open(self) -> None:
        """The service goes down while some calls are under way; the breaker opens, and some of them end late."""
        while self.state.mode == "closed":
            caller = self.chance.choice(self.callers)
            if caller.ticket is None:
                assert self.ask(caller)
            if self.busy and self.chance.random() < 0.5:
                self.end(self.chance.choice(self.busy), "failure")
        self.opened()

    def opened(self) -> None:
        self.openings += 1
        self.admitted = self.lost = 0
        self.probing.clear()

    def cool(self) -> None:
        """The cool-down passes; nobody is let through while it does."""
        waited, jumps = 0.0, 0
        while True:
            caller = self.chance.choice(self.callers)
            if caller.ticket is None and self.ask(caller):
                assert jumps or waited >= self.policy.cooldown, "let through before the end of the cool-down"
                return
            if self.busy and self.chance.random() < 0.1:
                self.end(self.chance.choice(self.busy), self.chance.choice(("success", "failure")))
            if self.chance.random() < 0.01:
                self.jump()
                jumps += 1
            if self.chance.random() < 0.01:
                self.die(self.chance.randrange(PROCESSES))
            step = self.chance.uniform(0, self.policy.cooldown / 5)
            waited += step
            self.wall += step
            # Each time that the clock is set back, the cool-down may begin anew, but no more than that.
            assert waited <= (2 + jumps) * self.policy.cooldown, "still not let through, long after the cool-down"

    def probe(self) -> None:
        """All callers ask, in any order, while probes end in any way, until the breaker has made up its mind."""
        crowd = [caller for caller in self.callers if caller.ticket is None]
        self.chance.shuffle(crowd)
        generation = self.state.generation
        while self.state.generation == generation:
            for caller in crowd[: self.chance.randrange(len(crowd) // 10, len(crowd))]:
                if caller.ticket is None:
                    self.ask(caller)
            assert len(self.probing) + self.finished() == self.policy.probes, "fewer probes than permitted"
            self.befall()
        if self.state.mode == "closed":
            assert self.finished() == self.policy.probes, "closed by another number of probes than permitted"
            self.admitted = self.lost = 0
            self.probing.clear()
        else:
            self.opened()

    def finished(self) -> int:
        return self.admitted - self.lost - len(self.probing)

    def befall(self) -> None:
        what = self.chance.random()
        if what < 0.2:
            self.die(self.chance.choice([caller.process for caller in self.probing]))
        elif what < 0.3:
            self.jump()
        elif what < 0.4 and len(self.busy) > len(self.probing):
            late = [caller for caller in self.busy if caller not in self.probing]
            self.end(self.chance.choice(late), self.chance.choice(("success", "failure")))
        else:
            probe = self.chance.choice([caller for caller in self.busy if caller in self.probing])
            grades: list[Any] = ["success", "answered", "failure", "failure", "throttled", "unknown"]
            self.end(probe, self.chance.choice(grades))


def live(world: World, openings: int) -> World:
    """Let the breaker open so many times."""
    while world.openings < openings:
        if world.state.mode == "closed":
            world.open()
        else:
            world.cool()
            world.probe()
    return world
