"""Which items of a map may begin while none of it has succeeded, and items fail by a fault of the program.

Whether the program or the item is at fault is decided by the other items, not by which came first: as soon as one has
succeeded, the program works, and all are tried. What has failed in this way is set aside until that is known. A program
that cannot work is not tried on every item: after `ENOUGH` of them without a success only a sample of what is left is
tried, spread over the rest of the input, since data often lie sorted. If that fails as well, the map ends.

What an earlier life has tried waits until an item has succeeded, or nothing else is left, so that each life comes to
other items.
"""

from __future__ import annotations

from collections import deque

from perdure.core.execution.call_end import Failed
from perdure.core.execution.map_items import Job, Tally

ENOUGH = 10
"""So many items have failed by a fault of the program, and none has succeeded: it is suspected."""
SAMPLE = 10
"""About so many of the others are tried then, if it is known how many there are."""
AHEAD = 10_000
"""At most so many items are held meanwhile."""


class ProgramFaults:
    """The items that have failed by a fault of the program, and those that do not begin for that reason.

    Not for several threads at once.

    Args:
        tally: how the items of the map have ended.
        total: how many items there are; None if that is not known.
    """

    def __init__(self, tally: Tally, total: int | None) -> None:
        self._tally = tally
        self._total = total
        self.aside: list[tuple[Job, Failed]] = []
        self.held: deque[Job] = deque()
        self._next = -1
        self._every = 1
        self._sample: set[int] = set()

    @property
    def suspected(self) -> bool:
        """Is it to be seen whether any item can succeed, before more begin?"""
        return not self._tally.done and len(self.aside) >= ENOUGH

    def admits(self, job: Job, *, tried: bool, quiet: bool) -> bool:
        """May a new item begin, of a map in which none has succeeded? If not, it is held.

        Args:
            job: the item.
            tried: an earlier life has tried it.
            quiet: nothing is under way.
        """
        if self.suspected:
            if self._next < 0 and self._total is not None:
                left = min(max(self._total - job.index, 1), AHEAD)
                self._every = max(left // SAMPLE, 1)
                self._next = job.index + self._every - 1
            if quiet and not tried and 0 <= self._next <= job.index:
                self._next = job.index + self._every
                self._sample.add(job.index)
                return True
        elif not tried:
            return True
        self.held.append(job)
        return False

    def keeps(self, job: Job) -> bool:
        """Is this item, which was admitted and has not begun, held after all?"""
        if not self.suspected or job.index in self._sample:
            return False
        self.held.append(job)
        return True

    @property
    def exhausted(self) -> bool:
        """Does it make no sense to look at further items? Ask when nothing is under way."""
        return self.suspected and (self._total is None or len(self.held) > AHEAD)

    def first(self) -> tuple[Job, Failed]:
        """The first item of the input that has failed in this way."""
        return min(self.aside, key=lambda one: one[0].index)

    def verdict(self) -> tuple[Job, Failed] | None:
        """What the map fails with, if it does, now that nothing is under way.

        Without a success, with the first of these items, and with the first whose fault is certain in any case. A
        single item beside others that failed for another reason says nothing of the program.
        """
        if not self.aside:
            return None
        if not self._tally.done and (len(self.aside) > 1 or not self._tally.dead):
            return self.first()
        certain = [one for one in self.aside if one[1].program == "certain"]
        return min(certain, key=lambda one: one[0].index) if certain else None

    def to_park(self) -> list[tuple[Job, Failed]]:
        """The items that are dead letters after all, in the order of the input."""
        return sorted(self.aside, key=lambda one: one[0].index)
