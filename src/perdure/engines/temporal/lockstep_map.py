"""Many calls of a sync step: the function's thread draws the items, and several are under way at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from perdure.core.execution.call import fail, move_on, settle
from perdure.core.execution.effects import Execute
from perdure.core.execution.map_items import Job, Tally
from perdure.core.execution.spec import Call
from perdure.engines.interface import Concurrency
from perdure.engines.local.thread_map import AnyBatch
from perdure.engines.temporal.lockstep_thread import Ticket
from perdure.errors import OptionError, StopRun


def number(concurrency: Concurrency) -> int:
    """How many items may be under way.

    Raises:
        OptionError: that was to be found out, for which the attempts would have to be made here.
    """
    if concurrency == "auto":
        raise OptionError(
            'concurrency is "auto", which there is not on a cluster: its workers make the attempts, '
            "and try them again, out of this workflow's sight",
            "give a number, such as concurrency=8",
        )
    return concurrency


class LockstepBatch(AnyBatch):
    """Carries the decisions of all items on one thread, each from one hand-over to the next."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: dict[Ticket, tuple[Job, Generator[Any, Any, Any], Execute]] = {}
        self._ended: list[Ticket] = []

    def run(self, calls: Iterator[Call]) -> Tally:
        """Run them all.

        Raises:
            StopRun: the run cannot go on.
            Exception: the first item that failed for good, if that is not to be parked.
        """
        self.scope.drive(move_on(self.history))
        try:
            for call in calls:
                if self.over:
                    break
                job = self.feed.offer(call)
                if job is not None and self.may_start(job):
                    self._start(job)
                self._release(exhausted=False)
            self._release(exhausted=True)
        except StopRun:
            if self.scope.ending is not None:
                self._drain()
            raise
        self._drain()
        self.scope.check()
        if self.failed is not None:
            call, end = self.failed
            if not end.replayed:
                self.scope.drive(fail(call, self.history, end))
            raise end.error
        return self.tally

    def _drain(self) -> None:
        """What is under way ends, also if the run is to end: whatever is done then is saved, and can be undone."""
        while self._open:
            self._reap()

    def _release(self, *, exhausted: bool) -> None:
        while not self.stopped:
            while (job := self.feed.released()) is not None:
                self._start(job)
            job = self.feed.waiting(exhausted=exhausted)
            if job is None:
                return
            record = self.scope.drive(settle(job.call, self.history))
            if record is not None:
                self._start(self.feed.adopt(record.seq))

    def _start(self, job: Job) -> None:
        if job.seq is not None:
            self.ended(job, self.scope.drive(self.program(job)))
            return
        self._advance(job, self.program(job), None)
        while len(self._open) >= self.concurrency:
            self._reap()

    def _advance(self, job: Job, program: Generator[Any, Any, Any], answer: Any) -> None:
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
            self.scope.strand.wait()
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
