"""Many calls of one step: what the maps of every engine share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from sys import exception
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from perdure.config import secrets
from perdure.core import commands
from perdure.core.exceptions import capture, notes
from perdure.core.execution.adaptive_concurrency import CEILING, AdaptiveConcurrency, adapting
from perdure.core.execution.call import item, recheck
from perdure.core.execution.call_end import Failed, Parked, fail, first_success, parked
from perdure.core.execution.drift import settle
from perdure.core.execution.effects import Outcome, Wait
from perdure.core.execution.history import Exit, History
from perdure.core.execution.map_faults import ProgramFaults
from perdure.core.execution.map_items import Feed, Job, MapOptions, Tally
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import Row
from perdure.engines.interface import Reader
from perdure.engines.runtime.paused_items import PausedItems, stretch
from perdure.errors import HasDeadLetters

if TYPE_CHECKING:
    from perdure.engines.runtime.clock import World
    from perdure.engines.runtime.event_order import EventOrder

Program = Generator[Any, Any, Any]


class MapScope(Protocol):
    """What a map needs of the run that it belongs to."""

    history: History
    deciding: AbstractContextManager[Any] | None

    def order_here(self) -> EventOrder | None:
        """The order of the events, in the loop that has one."""

    def reader(self) -> Reader:
        """Access to the records of the run."""

    def drive(self, program: Program) -> Any:
        """Carry a decision to its end, blocking the caller."""

    def drive_in_task(self, program: Program) -> Awaitable[Any]:
        """Carry a decision to its end in the current task."""

    @property
    def world(self) -> World | None:
        """Time, as the waits between attempts pass; None if they are not made here."""

    def notify_wait(self, wait: Wait) -> Callable[[], None]:
        """Notify of a call that waits for its next attempt; what is returned is called when that is over."""

    def handles(self, error: BaseException | None) -> bool:
        """Calls are made while the workflow handles that: are they due to an exit?"""

    def begin_map(self, spec: Spec, total: int | None, concurrency: int | None) -> int:
        """A map begins: its number in the run; 0 if that is not recorded."""

    def end_map(self, number: int) -> None:
        """The map of that number is over."""

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

    `faults` are the items that have failed by a fault of the program; what comes of them is decided at the end.

    Args:
        scope: the run.
        spec: the step.
        options: what was asked for.
    """

    def __init__(self, scope: S, spec: Spec, options: MapOptions) -> None:
        self.scope = scope
        self.spec = spec
        self.adaptive: AdaptiveConcurrency | None = None
        self.lock: AbstractContextManager[Any] = nullcontext()
        self.total = total = options.total
        self.concurrency: int
        if options.concurrency == "auto":
            self.adaptive = AdaptiveConcurrency(CEILING if total is None else min(CEILING, total))
            self.concurrency = self.adaptive.most
        else:
            self.concurrency = options.concurrency
        self.park = options.on_failure == "dead_letter"
        self.max_dead = options.max_dead
        self.history = scope.history
        deciding = getattr(scope, "deciding", None)
        self.feed = (
            Feed(scope.history, spec.name) if deciding is None else SharedFeed(scope.history, spec.name, deciding)
        )
        self.tally = Tally()
        self.paused = PausedItems(scope.world)
        self.faults = ProgramFaults(self.tally, total)
        self.failed: tuple[Call, Failed] | None = None
        self.error: BaseException | None = None
        self.due_to_exit = scope.handles(exception())
        self.number = scope.begin_map(spec, total, None if self.adaptive is not None else self.concurrency)

    def over_for_good(self) -> None:
        """No item of it is under way any more."""
        if self.number:
            self.scope.end_map(self.number)

    @property
    def stopped(self) -> bool:
        """Has something gone wrong, so that no further item may start?"""
        return self.failed is not None or self.error is not None or (self.max_dead is not None and self.too_many)

    @property
    def too_many(self) -> bool:
        """Are there more dead letters than are put up with?"""
        if self.max_dead is None:
            return False
        return self.tally.dead + (len(self.faults.aside) if self.tally.done else 0) > self.max_dead

    @property
    def over(self) -> bool:
        """Nothing is left to draw for. After a replayed failure, the items behind it still claim their records."""
        return self.error is not None or (self.stopped and not self.history.doubtful(self.spec.name))

    def may_start(self, job: Job) -> bool:
        """Once stopped, items that have records are still looked at; nothing new begins."""
        return job.seq is not None or not self.stopped

    def program(self, job: Job) -> Program:
        """What decides on this item."""
        if job.seq is None:
            self.note_batch(job)
            return self.decide(job, None)
        return recheck(job.call, self.history, job.seq, self.park)

    def note_batch(self, job: Job) -> None:
        """An item that is to be executed says in its record which map it is of, and what that is due to."""
        if self.due_to_exit:
            job.call.due_to_exit = True
        if self.number:
            job.call.more().batch = self.number

    def decide(self, job: Job, first: Outcome | None) -> Program:
        """The same for a new item; `first` is how its first attempt went, if that was made without asking."""
        decision = item(job.call, self.history, self.park, self._none_succeeded, first)
        if self.adaptive is not None:
            decision = adapting(decision, self.adaptive, self.lock)
        return stretch(decision) if self.paused.room else decision

    def success(self, job: Job, first: Outcome) -> tuple[Row, ...] | None:
        """What is to be saved of an item whose first attempt has succeeded; None if that is for its decision to say."""
        if self.scope.deciding is not None:  # threads have come to take part meanwhile
            return None
        return first_success(job.call, self.history, first)

    def _none_succeeded(self) -> bool:
        return self.tally.done == 0

    def ended(self, job: Job, end: Any) -> None:
        """An item has come to its end. Not for several threads at once."""
        kind = type(end)
        if kind is Failed:
            if end.program != "none":
                self.faults.aside.append((job, end))
            elif self.failed is None or (end.replayed and job.call.seq < self.failed[0].seq):
                self.failed = (job.call, end)
            return
        self.tally.ended(job.index, end.seq, kind is Parked, job.seq is not None and self.history.from_before(job.seq))
        self.scope.notify_map(self.spec.name, self.tally, self.total)

    def saved(self, jobs: Sequence[Job]) -> None:
        """Items have succeeded at their first attempt, which is durable. Not for several threads at once."""
        ended = self.tally.ended
        for job in jobs:
            ended(job.index, job.call.seq, False, False)
            if job.call.spending is not None:
                job.call.spending.saved()
            self.scope.notify_map(self.spec.name, self.tally, self.total)

    def fail_early(self) -> None:
        """The program is at fault: no further item is tried."""
        job, end = self.faults.first()
        self.failed = (job.call, end)

    def note_exits(self, by: BaseException | None) -> None:
        """No item is under way any more, and the map is left: items that were left by an exit have failed with it.

        Args:
            by: what the map is left by; of several, a later life has that again: it comes first.
        """
        left: list[Exit] = getattr(self.scope, "left_items", [])
        mine = [each for each in left if each[0].more().batch == self.number]
        with self.scope.deciding or nullcontext():
            for each in sorted(mine, key=lambda each: each[1] is not by):
                left.remove(each)
                self.history.left_by_exit(*each)

    def settled(self) -> list[tuple[Job, Failed]]:
        """No item is under way any more: those that were set aside, and are dead letters."""
        if self.failed is not None or self.error is not None:
            return []
        if (verdict := self.faults.verdict()) is not None:
            job, end = verdict
            self.failed = (job.call, end)
            return []
        return self.faults.to_park()

    def parking(self, job: Job, end: Failed) -> Program:
        """Park an item that was set aside."""
        return parked(job.call, self.history, end)

    def refuse_too_many(self) -> None:
        """Make sure that there are no more dead letters than are put up with.

        Raises:
            HasDeadLetters: there are.
        """
        if not self.too_many or self.failed is not None:
            return
        name, ended = self.spec.name, self.tally.done + self.tally.dead
        first, run = self.scope.reader().record(self.tally.letters()[0]), self.history.id
        raise HasDeadLetters(
            f"the map over step {name!r} has ended after {ended} items: {self.tally.dead} of them failed for good, and "
            f"max_dead is {self.max_dead}\n"
            f"    the first: {name}{secrets.describe_inputs(first.input)}: {capture.decode(first.output).line}",
            f"list them: {commands.dlq(run)}; once the cause is fixed, `{commands.redrive(run)}` runs them again, and "
            f"`{commands.resume(run)}` goes on with the run",
        )

    def mark_program_fault(self, call: Call, end: Failed) -> None:
        """Say at the error which item has ended the map, and why it is no dead letter."""
        if end.program == "none":
            return
        if not any("fault of the program" in note for note in notes.of(end.error)):
            count = len(self.faults.aside)
            failed = f"{count} items failed in this way" if count > 1 else "one item failed in this way"
            others = "the others are done" if self.tally.done else "none succeeded"
            notes.add(
                end.error,
                f"perdure: this is a fault of the program, not of an item, so it ends the map and makes no dead "
                f"letter; {failed}, {others}; first at {self.spec.name}{secrets.describe_inputs(call.input)}",
            )


class SyncMap(BaseMap[S], ABC):
    """Items are drawn on the caller's thread, since drawing them may call steps."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """An item may start: run it, or have it run."""

    @abstractmethod
    def quiesce(self) -> None:
        """Wait until no item is under way."""

    def draw(self, calls: Iterator[Call]) -> None:
        """Start all items, in the order in which they may start."""
        for call in calls:
            if self.over:
                break
            job = self.feed.offer(call)
            if job is not None and self.may_start(job):
                self._begin(job)
            self._release(exhausted=False)
        self._release(exhausted=True)

    def finish(self) -> None:
        """All items are drawn: start what was held, if there is still something to be found out by that."""
        faults = self.faults
        while not self.stopped:
            if not self.tally.done:
                self.quiesce()
            if self.stopped or not faults.held:
                return
            if faults.suspected:
                self.fail_early()
            else:
                self.start(faults.held.popleft())

    def _begin(self, job: Job) -> None:
        """An item may start, unless the program is to blame for what has become of the others."""
        if job.seq is not None or self.tally.done or not self.park or self._admits(job):
            self.start(job)

    def _admits(self, job: Job) -> bool:
        faults = self.faults
        if faults.suspected:
            self.quiesce()
            if self.stopped:
                return False
            if self.tally.done:
                return True
            if faults.exhausted:
                self.fail_early()
                return False
        return faults.admits(job, tried=self.history.tried(job.call), quiet=True)

    def _release(self, *, exhausted: bool) -> None:
        if not (self.feed.held or self.faults.held):
            return
        while not self.stopped:
            while self.faults.held and self.tally.done and not self.stopped:
                self.start(self.faults.held.popleft())
            while (job := self.feed.released()) is not None:
                self._begin(job)
            job = self.feed.waiting(exhausted=exhausted)
            if job is None:
                return
            record = self.scope.drive(settle(job.call, self.history))
            if record is not None:
                self.start(self.feed.adopt(record.seq))

    def result(self) -> Tally:
        """What came of the items, when none is under way any more.

        Raises:
            HasDeadLetters: there are more dead letters than are put up with.
            Exception: the first item that failed for good, if that does not make a dead letter.
        """
        for job, end in self.settled():
            self.ended(job, self.scope.drive(self.parking(job, end)))
        self.refuse_too_many()
        if self.failed is not None:
            call, end = self.failed
            self.mark_program_fault(call, end)
            if not end.replayed:
                self.scope.drive(fail(call, self.history, end))
            raise end.take()
        return self.tally
