"""Many calls of a sync step: the function's thread draws the items, and several are under way at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from perdure.core.execution.effects import Execute
from perdure.core.execution.map_items import Job, MapOptions, Tally
from perdure.core.execution.spec import Call
from perdure.engines.features import TEMPORAL, Feature
from perdure.engines.runtime.base_map import MapScope, Program, SyncMap
from perdure.engines.temporal.lockstep_thread import LockstepThread, Ticket
from perdure.errors import PerdureError, StopRun


def refuse_options(options: MapOptions) -> None:
    """Make sure that nothing is asked for which the attempts would have to be made here.

    Raises:
        OptionError: the number of items under way was to be found out, or they were to be executed in processes.
    """
    if options.processes:
        raise TEMPORAL.unsupported(Feature.MAP_PROCESSES)
    if options.concurrency == "auto":
        raise TEMPORAL.unsupported(Feature.ADAPTIVE_CONCURRENCY)


class LockstepScope(MapScope, Protocol):
    """What a map on one thread needs of the run besides."""

    thread: LockstepThread

    @property
    def ending(self) -> PerdureError | None:
        """What the run was stopped for, if that is how it ends."""

    def check(self) -> None:
        """Refuse to go on with a run that was stopped."""

    def perform(self, effect: Any) -> Any:
        """An effect that needs no waiting."""

    def hand_over(self, effect: Execute, on_done: Callable[[Ticket], None]) -> Ticket:
        """Ask Temporal for a step."""

    def taken(self, effect: Execute, ticket: Ticket) -> Any:
        """What came of it."""


class LockstepMap(SyncMap[LockstepScope]):
    """Carries the decisions of all items on one thread, each from one hand-over to the next."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: dict[Ticket, tuple[Job, Program, Execute]] = {}
        self._ended: list[Ticket] = []

    def run(self, calls: Iterator[Call]) -> Tally:
        """Run them all.

        Raises:
            StopRun: the run cannot go on.
            Exception: the first item that failed for good, if that does not make a dead letter.
        """
        try:
            self.draw(calls)
            self.finish()
        except StopRun:
            if self.scope.ending is not None:
                self._drain()
            raise
        self._drain()
        self.scope.check()
        return self.result()

    def quiesce(self) -> None:
        """Wait until no item is under way."""
        self._drain()

    def _drain(self) -> None:
        """What is under way ends, also if the run is to end: whatever is done then is saved, and can be undone."""
        while self._open:
            self._reap()

    def start(self, job: Job) -> None:
        """Carry an item to where it hands over to Temporal; wait for a place first."""
        if job.seq is not None:
            self.ended(job, self.scope.drive(self.program(job)))
            return
        self._advance(job, self.program(job), None)
        while len(self._open) >= self.concurrency:
            self._reap()

    def _advance(self, job: Job, program: Program, answer: Any) -> None:
        """Carry an item's decision to where it hands over to Temporal, or to its end."""
        try:
            effect = program.send(answer)
            while not isinstance(effect, Execute):
                effect = program.send(self.scope.perform(effect))
        except StopIteration as end:
            self.ended(job, end.value)
            return
        self._open[self.scope.hand_over(effect, self._ended.append)] = (job, program, effect)

    def _reap(self) -> None:
        """Wait until at least one item has come further."""
        while not self._ended:
            self.scope.thread.wait()
        ended, self._ended[:] = list(self._ended), []
        for ticket in ended:
            job, program, effect = self._open.pop(ticket)
            try:
                answer = self.scope.taken(effect, ticket)
            except StopRun:
                if self.scope.ending is None:
                    raise
                program.close()  # the time of the run is over, or it was cancelled: others may still have something
                continue
            self._advance(job, program, answer)
