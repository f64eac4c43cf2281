"""Exceptions of the workflow's own code that it handles while it makes calls: a finally, an except, Ctrl-C in between.

What is called since may be due to the exception. If that ends the run, no call has to come to it again once all goes
well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

MOST = 16
"""Exceptions that are known at a time, the last ones: each holds the frames that it came through."""


def chain(error: BaseException, around: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it came from, without what was handled already where the run was called."""
    seen = set[int]()
    one: BaseException | None = error
    while one is not None and one is not around and id(one) not in seen and len(seen) < MOST:
        seen.add(id(one))
        yield one
        one = one.__context__


class OwnErrors:
    """Those that were seen handled at a call; `first`: by their ids, the first record that may be due to each."""

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        self._kept: dict[int, BaseException] = {}  # so that no other one gets its id

    def handles(self, errors: Sequence[BaseException], following: int) -> None:
        """A call is made while the workflow handles these; `following` is the number that the next new record gets."""
        for one in errors:
            self.first.setdefault(id(one), following)
            self._kept[id(one)] = self._kept.pop(id(one), one)
        while len(self._kept) > MOST:
            del self.first[(oldest := next(iter(self._kept)))], self._kept[oldest]

    def came_to(self, seq: int) -> None:
        """A call of a later life has that record: it is made because of each of them, or beside it."""
        for key, first in list(self.first.items()):  # another thread may add one
            if seq < first:
                self.first[key] = seq
