"""Which items of a batch may start, and how each of them ended. Written once, for threads and for tasks."""

from __future__ import annotations

from array import array
from collections import deque
from typing import Literal

import msgspec

from perdure.core.execution.history import History
from perdure.core.execution.spec import Call


class MapOptions(msgspec.Struct, frozen=True):
    """What a map was asked for.

    Attributes:
        concurrency: how many items at a time, or "auto".
        on_failure: whether an item that fails for good becomes a dead letter, or ends the map.
        total: how many items there are, if that is known.
        max_dead: so many dead letters are put up with; None: any number.
        processes: the items are executed in processes of their own, as many as at a time.
    """

    concurrency: int | Literal["auto"] = 1
    on_failure: Literal["dead_letter", "raise"] = "dead_letter"
    total: int | None = None
    max_dead: int | None = None
    processes: bool = False


class Job(msgspec.Struct, frozen=True, gc=False):
    """An item: its place in the input, its call, and the number of its record if it has been done before."""

    index: int
    call: Call
    seq: int | None


class Feed:
    """Matches items with records as they come, and lets those through that may start.

    An item without a record waits while completed records of the step remain that later items may claim: with a list
    that has changed, the run has to stop before anything is executed. On a first run nothing ever waits, so any
    iterable of any length passes through in bounded memory.
    """

    def __init__(self, history: History, name: str) -> None:
        self._history = history
        self._name = name
        self.held: deque[Job] = deque()
        self._count = 0

    def offer(self, call: Call) -> Job | None:
        """The next item: what may start because of it, if anything. Others may come from `released`."""
        history = self._history
        seq = history.claim(call)
        if seq is not None and history.is_abandoned(seq):
            seq, call.seq = None, 0
        job = Job(self._count, call, seq)
        self._count += 1
        if seq is None and (self.held or history.unsettled(self._name, call)):
            self.held.append(job)
            return None
        return job

    def released(self) -> Job | None:
        """A held item that may start now, if there is one."""
        if self.held and not self._history.unsettled(self._name, self.held[0].call):
            return self.held.popleft()
        return None

    def adopt(self, seq: int) -> Job:
        """The item that was `waiting` may have the record of that number."""
        job = self.held.popleft()
        return Job(job.index, job.call, seq)

    def waiting(self, *, exhausted: bool) -> Job | None:
        """A held item that can only start after the replay has come to rest: let it `settle`.

        While items are still to come, they may claim what is left under this name, so only the other names matter then.
        """
        if not self.held or not self._history.unsettled(self._name, self.held[0].call):
            return None
        if exhausted or not self._history.doubtful(self._name):
            return self.held[0]
        return None


class Tally:
    """How the items ended, 4 bytes each: the number of the record, negative for a dead letter, 0 for one not ended."""

    def __init__(self) -> None:
        self._seqs = array("i")
        self.done = 0
        self.dead = 0
        self.skipped = 0

    def ended(self, index: int, seq: int, dead: bool, replayed: bool) -> None:
        """An item has ended, now or (`replayed`) in an earlier process. Not for several threads at once."""
        seqs = self._seqs
        if index >= len(seqs):
            seqs.extend([0] * (index + 1 - len(seqs)))
        try:
            seqs[index] = -seq if dead else seq
        except OverflowError:  # a run of more than 2,147,483,647 records
            self._seqs = seqs = array("q", seqs)
            seqs[index] = -seq if dead else seq
        if dead:
            self.dead += 1
        else:
            self.done += 1
        self.skipped += replayed

    def last(self) -> int:
        """The record that was made last."""
        return max(map(abs, self._seqs), default=0)

    def results(self) -> array[int]:
        """The records of those that succeeded, in the order of the input."""
        if not self.dead and self.done == len(self._seqs):
            return self._seqs  # nothing to leave out: no second million of numbers
        return array(self._seqs.typecode, (seq for seq in self._seqs if seq > 0))

    def letters(self) -> list[int]:
        """The records of the dead letters, in the order of the input."""
        return [-seq for seq in self._seqs if seq < 0]
