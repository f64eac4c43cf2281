"""Items of a map that wait for their next attempt; others run meanwhile."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.execution.effects import Wait
from perdure.core.execution.map_items import Job

if TYPE_CHECKING:
    from perdure.engines.runtime.clock import World

Program = Generator[Any, Any, Any]

MOST = 100
"""So many items of a map are paused at a time; a further one that has to wait keeps its place meanwhile."""


class Paused(msgspec.Struct, frozen=True):
    """A decision that has come to the wait for its next attempt: `program` goes on behind the `wait`."""

    wait: Wait
    program: Program


def stretch(program: Program, late: float | None = None) -> Program:
    """A decision as far as the next wait between two attempts. Returns its end, or a Paused.

    Waits for a breaker or a turn are no pauses: the other items of the step have to wait for the same.

    Args:
        program: the decision.
        late: it goes on behind a wait, so many seconds after that was over; None: it begins.
    """
    try:
        effect = next(program) if late is None else program.send(late)
        while type(effect) is not Wait or effect.error is None:
            effect = program.send((yield effect))
    except StopIteration as end:
        return end.value
    return Paused(effect, program)


def sit_out(wait: Wait, seconds: float) -> Program:
    """Let some seconds of a wait pass, of which who watches knows already."""
    yield msgspec.structs.replace(wait, seconds=seconds, noted=True)


class PausedItems:
    """The items that wait, by when their next attempt is due: a heap. Not for several threads at once.

    Args:
        world: time; None if the waits are made elsewhere, so that no item is ever paused here.
    """

    def __init__(self, world: World | None) -> None:
        self._world = world
        self.items: list[tuple[float, int, Job, Paused, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def room(self) -> bool:
        """May one more item be paused?"""
        return self._world is not None and len(self.items) < MOST

    def add(self, job: Job, paused: Paused, over: Callable[[], None]) -> None:
        """An item waits from now on; `over` is called when it does not any more."""
        assert self._world is not None
        due = self._world.clock() + paused.wait.seconds
        heapq.heappush(self.items, (due, next(self._numbers), job, paused, over))

    def due(self) -> tuple[Job, Program] | None:
        """An item whose wait is over, and how it goes on; the one that has waited longest for its turn."""
        if not self.items or self._world is None or self.items[0][0] > self._world.clock():
            return None
        due, _, job, paused, over = heapq.heappop(self.items)
        over()
        return job, stretch(paused.program, self._world.clock() - due)

    def next_wait(self, longest: float = float("inf")) -> Program:
        """Let time pass until the next item is due, at most so many seconds and what may pass in one go."""
        assert self._world is not None
        due, _, _, paused, _ = self.items[0]
        left = min(max(due - self._world.clock(), 0.0), self._world.slice, longest)
        return sit_out(paused.wait, left)

    def drop_all(self) -> list[Job]:
        """The map ends: what waits is not tried again in this run. Returns the items."""
        dropped = [job for _, _, job, _, _ in self.items]
        for _, _, _, paused, over in self.items:
            paused.program.close()
            over()
        self.items.clear()
        return dropped
