"""In which order a resumed async workflow sees again what it saw before: results, failures, and timers that fired."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from math import inf, nextafter
from typing import Final, Literal

import msgspec

from perdure.core.execution.history import History

BLOCKED: Final = "blocked"
OVER: Final = "over"


class Deliver(msgspec.Struct, frozen=True):
    """Whoever waits at this place comes next."""

    place: float


class Fire(msgspec.Struct, frozen=True):
    """The timer of this number fires next."""

    number: int


Next = Deliver | Fire | Literal["blocked", "over"]


class DeliveryOrder:
    """What comes next, given what is recorded and who waits.

    A place is the number of a record, or lies between two. Records that were claimed without waiting are passed by.

    Args:
        history: before anything is claimed.
        fired: numbers of timers, and the place after which each fired.
    """

    def __init__(self, history: History, fired: Iterable[tuple[int, float]]) -> None:
        # What is not held against the script need not be claimed, so it is not waited for.
        self._left = history.left()
        self._is_exempt = history.is_exempt
        self._seqs = (seq for seq in self._left if not history.is_abandoned(seq))
        self._head = next(self._seqs, None)
        self._fired = deque(fired)
        self._waiting: set[float] = set()
        self._heap: list[float] = []

    def wait(self, place: float) -> None:
        """Somebody waits there."""
        self._waiting.add(place)
        heappush(self._heap, place)

    def leave(self, place: float) -> None:
        """Nobody waits there any more: it was delivered, or given up."""
        self._waiting.discard(place)

    def first_waiting(self) -> float | None:
        """The first place where somebody waits."""
        heap = self._heap
        while heap and heap[0] not in self._waiting:
            heappop(heap)
        return heap[0] if heap else None

    def head(self) -> int | None:
        """The first record that has not been passed by; None if all have."""
        left, waiting = self._left, self._waiting
        seq = self._head
        while seq is not None and seq not in waiting and (seq not in left or self._is_exempt(seq)):
            seq = self._head = next(self._seqs, None)
        return seq

    def has_timers(self) -> bool:
        """Are there timers that fired, and have not come again?"""
        return bool(self._fired)

    def has_timer(self, number: int) -> bool:
        """Is that one of them?"""
        return any(number == fired for fired, _ in self._fired)

    def is_over(self) -> bool:
        """Is there nothing that could come?"""
        return not self._fired and not self._waiting and self.head() is None

    def is_next(self, seq: float) -> bool:
        """Is a record that was just claimed the next to be seen, with nothing before it and nobody waiting?"""
        if self._waiting or (self._fired and self._fired[0][1] < seq):
            return False
        head = self.head()
        return head is None or head > seq

    def next(self, timers: Iterable[int], made: int) -> Next:
        """What comes next; `timers` are the numbers of those that can fire, `made` is how many were made so far."""
        head, first = self.head(), self.first_waiting()
        while self._fired:
            number, after = self._fired[0]
            if (head is not None and head <= after) or (first is not None and first <= after):
                break
            if number > made:
                return BLOCKED
            self._fired.popleft()
            if number in timers:
                return Fire(number)
        if first is not None and (head is None or first <= head):
            return Deliver(first)
        return OVER if head is None else BLOCKED

    def next_of_its_own(self, timers: Iterable[int], made: int) -> Next:
        """The same for a loop that rests, whatever else is left: a record that it has not asked for is another's.

        What it sees next is the first of what it waits for, since nothing else can happen in it.
        """
        first = self.first_waiting()
        while self._fired:
            number, after = self._fired[0]
            if (first is not None and first <= after) or (first is None and number > made):
                break
            self._fired.popleft()
            if number in timers:
                return Fire(number)
        return BLOCKED if first is None else Deliver(first)

    def place_of_its_own(self, timers: Collection[int], made: int) -> float | None:
        """The place of what that comes to; None for nothing."""
        first = self.first_waiting()
        for number, after in self._fired:
            if first is not None and first <= after:
                break
            if number in timers:
                return nextafter(after, inf)
            if first is None and number > made:
                break
        return first

    def pass_by_timer(self, made: int) -> bool:
        """The timer that is next is not made any more: the script was edited. False if it is no such timer."""
        if not self._fired or self._fired[0][0] <= made:
            return False
        self._fired.popleft()
        return True
