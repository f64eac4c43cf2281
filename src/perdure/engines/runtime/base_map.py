"""Many calls of one step: what the maps of every engine share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from perdure.core.execution.adaptive_concurrency import CEILING, AdaptiveConcurrency, adapting
from perdure.core.execution.call import Failed, Parked, fail, item, recheck
from perdure.core.execution.drift import settle
from perdure.core.execution.history import History
from perdure.core.execution.map_items import Feed, Job, Tally
from perdure.core.execution.spec import Call, Spec
from perdure.engines.interface import Concurrency, OnFailure

if TYPE_CHECKING:
    from perdure.engines.runtime.event_order import EventOrder

Program = Generator[Any, Any, Any]


class MapScope(Protocol):
    """What a map needs of the run that it belongs to."""

    history: History

    def order_here(self) -> EventOrder | None:
        """The order of the events, in the loop that has one."""

    def drive(self, program: Program) -> Any:
        """Carry a decision to its end, blocking the caller."""

    def drive_in_task(self, program: Program) -> Awaitable[Any]:
        """Carry a decision to its end in the current task."""

    def notify_map(self, name: str, tally: Tally, total: int | None) -> None:
        """Notify of how far the map over the step of that name has come."""


class SharedFeed(Feed):
    """The same for a run that several threads decide on: each claim is a decision of its own.

    Args:
        history: the run's records.
        name: of the step.
        deciding: held while a decision is made.
    """

    def __init__(self, history: History, name: str, deciding: AbstractContextManager[Any]) -> None:
        super().__init__(history, name)
        self._deciding = deciding

    def offer(self, call: Call) -> Job | None:
        """The next item: what may start because of it, if anything."""
        with self._deciding:
            return super().offer(call)

    def released(self) -> Job | None:
        """A held item that may start now, if there is one."""
        with self._deciding:
            return super().released()

    def waiting(self, *, exhausted: bool) -> Job | None:
        """A held item that can only start after the replay has come to rest."""
        with self._deciding:
            return super().waiting(exhausted=exhausted)


S = TypeVar("S", bound=MapScope)


class BaseMap(Generic[S]):
    """The count, and the first thing that goes wrong.

    `concurrency` is how many items may ever be under way at a time; `adaptive`, if there is one, how many may be now.

    Args:
        scope: the run.
        spec: the step.
        concurrency: how many items at a time, or "auto".
        on_failure: whether an item that fails for good becomes a dead letter, or ends the map.
        total: how many items there are, if that is known.
    """

    def __init__(
        self, scope: S, spec: Spec, concurrency: Concurrency, on_failure: OnFailure, total: int | None
    ) -> None:
        self.scope = scope
        self.spec = spec
        self.adaptive: AdaptiveConcurrency | None = None
        self.lock: AbstractContextManager[Any] = nullcontext()
        if concurrency == "auto":
            self.adaptive = AdaptiveConcurrency(CEILING if total is None else min(CEILING, total))
            concurrency = self.adaptive.most
        self.concurrency = concurrency
        self.park = on_failure == "dead_letter"
        self.total = total
        self.history = scope.history
        deciding = getattr(scope, "deciding", None)
        self.feed = (
            Feed(scope.history, spec.name) if deciding is None else SharedFeed(scope.history, spec.name, deciding)
        )
        self.tally = Tally()
        self.failed: tuple[Call, Failed] | None = None
        self.error: BaseException | None = None

    @property
    def stopped(self) -> bool:
        """Has something gone wrong, so that no further item may start?"""
        return self.failed is not None or self.error is not None

    @property
    def over(self) -> bool:
        """Nothing is left to draw for. After a replayed failure, the items behind it still claim their records."""
        return self.error is not None or (self.failed is not None and not self.history.doubtful(self.spec.name))

    def may_start(self, job: Job) -> bool:
        """Once stopped, items that have records are still looked at; nothing new begins."""
        return job.seq is not None or not self.stopped

    def program(self, job: Job) -> Program:
        """What decides on this item."""
        if job.seq is None:
            decision = item(job.call, self.history, self.park)
            return decision if self.adaptive is None else adapting(decision, self.adaptive, self.lock)
        return recheck(job.call, self.history, job.seq, self.park)

    def ended(self, job: Job, end: Any) -> None:
        """An item has come to its end. Not for several threads at once."""
        if isinstance(end, Failed):
            self.failed = self.failed or (job.call, end)
            return
        self.tally.ended(job.index, end.seq, isinstance(end, Parked), self.history.from_before(job.seq))
        self.scope.notify_map(self.spec.name, self.tally, self.total)


class SyncMap(BaseMap[S], ABC):
    """Items are drawn on the caller's thread, since drawing them may call steps."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """An item may start: run it, or have it run."""

    def draw(self, calls: Iterator[Call]) -> None:
        """Start all items, in the order in which they may start."""
        for call in calls:
            if self.over:
                break
            job = self.feed.offer(call)
            if job is not None and self.may_start(job):
                self.start(job)
            self._release(exhausted=False)
        self._release(exhausted=True)

    def _release(self, *, exhausted: bool) -> None:
        while not self.stopped:
            while (job := self.feed.released()) is not None:
                self.start(job)
            job = self.feed.waiting(exhausted=exhausted)
            if job is None:
                return
            record = self.scope.drive(settle(job.call, self.history))
            if record is not None:
                self.start(self.feed.adopt(record.seq))

    def result(self) -> Tally:
        """What came of the items, when none is under way any more.

        Raises:
            Exception: the first item that failed for good, if that does not make a dead letter.
        """
        if self.failed is not None:
            call, end = self.failed
            if not end.replayed:
                self.scope.drive(fail(call, self.history, end))
            raise end.error
        return self.tally
