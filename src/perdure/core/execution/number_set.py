"""A set of whole numbers that lie close together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BITS = 12
_SIZE = 1 << _BITS
_REST = _SIZE - 1


class Numbers:
    """A byte for each number between those that are in it, and not the 70 bytes that a set takes of each.

    Args:
        numbers: from 0 up, in any order; where they lie far apart, nothing is kept for what is between.
    """

    __slots__ = ("_pages",)

    def __init__(self, numbers: Iterable[int]) -> None:
        pages: dict[int, bytearray] = {}
        self._pages = pages
        for number in numbers:
            page = pages.get(number >> _BITS)
            if page is None:
                page = pages[number >> _BITS] = bytearray(_SIZE)
            page[number & _REST] = 1
        self._pages = dict(sorted(pages.items()))

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> _BITS)
        return page is not None and page[number & _REST] == 1

    def __iter__(self) -> Iterator[int]:
        """In order."""
        for at, page in self._pages.items():
            place = page.find(1)
            while place >= 0:
                yield at << _BITS | place
                place = page.find(1, place + 1)

    def discard(self, number: int) -> None:
        """Take a number out, if it is in."""
        page = self._pages.get(number >> _BITS)
        if page is not None:
            page[number & _REST] = 0
