"""Counts the steps of a backtracking matcher, so that a test of how work grows with a text needs no clock.

`Counted` stands in for a compiled pattern. Its own matcher walks the parsed pattern as the standard library's engine
does and counts every node that it tries; what is returned comes from the standard library, and both must agree.
Bounds of three and more digits are lowered, so that a text of some hundred characters is already far beyond them.
"""

from __future__ import annotations

import re
import re._constants as op
import re._parser as parser
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from regex_characters import CATEGORIES, first, single

BOUND = 24
"""What longer bounds are lowered to. Characters."""

DEPTH = 200_000
"""Frames of Python that a match may take: one and more for each repeat of a group."""

Matcher = Callable[[int], int]
"""Where a match that begins at this place ends; below 0 if there is none."""


def _lowered(bounds: re.Match[str]) -> str:
    return f"{bounds[1]},{max(int(bounds[1]), BOUND)}"


class Counted:
    """Stands in for a pattern, and adds to `steps`."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.real = re.compile(re.sub(r"(\d+),\d{3,}(?=\})", _lowered, pattern.pattern), pattern.flags)
        self.groupindex = self.real.groupindex
        self.steps = 0
        self._text = ""
        self._end = 0
        self._groups: list[tuple[int, int] | None] = [None] * (self.real.groups + 1)
        self._opened = [0] * (self.real.groups + 1)
        self._ignore = bool(pattern.flags & re.IGNORECASE)
        parsed = list(parser.parse(self.real.pattern, self.real.flags))
        self._run = self._sequence(parsed, lambda at: at)
        self._first = first(parsed, self._ignore)
        self._places: tuple[str, set[str]] = ("", set())

    def match(self, text: str, pos: int = 0, endpos: int = sys.maxsize) -> re.Match[str] | None:
        """As the pattern's."""
        found = self.real.match(text, pos, endpos)
        self._begin(text, endpos)
        assert self._try(pos) == (found.end() if found else -1), (self.real.pattern, text, pos)
        return found

    def search(self, text: str) -> re.Match[str] | None:
        """As the pattern's."""
        return next(self.finditer(text), None)

    def finditer(self, text: str, pos: int = 0, endpos: int = sys.maxsize) -> Iterator[re.Match[str]]:
        """As the pattern's."""
        at = pos
        self._begin(text, endpos)
        for found in self.real.finditer(text, pos, endpos):
            self._search(at, found.start())
            assert self._try(found.start()) == found.end() > found.start(), (self.real.pattern, text)
            yield found
            self._begin(text, endpos)
            at = found.end()
        self._search(at, self._end + 1)

    def findall(self, text: str) -> list[str]:
        """As the pattern's, which has no groups."""
        return [found.group() for found in self.finditer(text)]

    def sub(self, into: Any, text: str) -> str:
        """As the pattern's."""
        for _ in self.finditer(text):
            pass
        return self.real.sub(into, text)

    def _begin(self, text: str, endpos: int) -> None:
        self._text, self._end = text, min(endpos, len(text))

    def _search(self, start: int, end: int) -> None:
        """No match begins there. Where the first character is another, that takes one step, and is not tried."""
        places: Iterable[int] = range(start, end)
        if self._first is not None:
            if self._places[0] != self._text:
                self._places = (self._text, {c for c in set(self._text) if self._first(c)})
            begins = self._places[1]
            places = [at for at in range(start, min(end, self._end)) if self._text[at] in begins] if begins else []
            self.steps += end - start - len(places)
        for at in places:
            assert self._try(at) < 0, (self.real.pattern, self._text, at)

    def _try(self, at: int) -> int:
        self._groups = [None] * len(self._groups)
        return self._run(at)

    # -- a closure for each node, which goes on with the next ---------------------------------------------------------

    def _sequence(self, nodes: list[Any], then: Matcher) -> Matcher:
        for code, args in reversed(nodes):
            then = self._node(code, args, then)
        return then

    def _node(self, code: Any, args: Any, then: Matcher) -> Matcher:
        if (test := single(code, args, self._ignore)) is not None:
            return self._character(test, then)
        if code is op.BRANCH:
            return self._branch([self._sequence(list(each), then) for each in args[1]])
        if code is op.SUBPATTERN:
            return self._subpattern(args[0], list(args[3]), then)
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            return self._repeat(code, args[0], args[1], list(args[2]), then)
        if code is op.ATOMIC_GROUP:
            return self._atomic(self._sequence(list(args), lambda at: at), then)
        if code in (op.ASSERT, op.ASSERT_NOT):
            back = args[1].getwidth()[0] if args[0] < 0 else 0
            return self._look(self._sequence(list(args[1]), lambda at: at), back, code is op.ASSERT, then)
        if code is op.AT:
            return self._at(args, then)
        if code is op.GROUPREF:
            return self._reference(args, then)
        raise NotImplementedError(code)

    def _character(self, test: Callable[[str], bool], then: Matcher) -> Matcher:
        def run(at: int) -> int:
            self.steps += 1
            return then(at + 1) if at < self._end and test(self._text[at]) else -1

        return run

    def _branch(self, ways: list[Matcher]) -> Matcher:
        def run(at: int) -> int:
            for way in ways:
                self.steps += 1
                if (end := way(at)) >= 0:
                    return end
            return -1

        return run

    def _subpattern(self, group: int | None, nodes: list[Any], then: Matcher) -> Matcher:
        if group is None:
            return self._sequence(nodes, then)

        def close(at: int) -> int:
            before, self._groups[group] = self._groups[group], (self._opened[group], at)
            if (end := then(at)) < 0:
                self._groups[group] = before
            return end

        inner = self._sequence(nodes, close)

        def run(at: int) -> int:
            before, self._opened[group] = self._opened[group], at
            if (end := inner(at)) < 0:
                self._opened[group] = before
            return end

        return run

    def _repeat(self, code: Any, low: int, high: Any, nodes: list[Any], then: Matcher) -> Matcher:
        most = sys.maxsize if high is op.MAXREPEAT else int(high)
        if len(nodes) == 1 and (test := single(*nodes[0], self._ignore)) is not None:
            return self._repeat_character(code, low, most, test, then)
        if code is op.POSSESSIVE_REPEAT:
            return self._atomic(self._repeat(op.MAX_REPEAT, low, high, nodes, lambda at: at), then)
        counts = [0]  # how many repeats there are before the one that is tried
        starts = [-1]

        def again(at: int) -> int:
            count, start = counts[-1], starts[-1]
            self.steps += 1
            if count < low or (code is op.MAX_REPEAT and count < most and at != start):
                counts.append(count + 1)
                starts.append(at)
                end = once(at)
                counts.pop()
                starts.pop()
                if end >= 0 or count < low:
                    return end
                return then(at)
            if code is op.MIN_REPEAT and (end := then(at)) >= 0:
                return end
            return then(at) if code is op.MAX_REPEAT else -1

        once = self._sequence(nodes, again)

        def run(at: int) -> int:
            counts.append(0)
            starts.append(-1)
            end = again(at)
            counts.pop()
            starts.pop()
            return end

        return run

    def _repeat_character(self, code: Any, low: int, most: int, test: Callable[[str], bool], then: Matcher) -> Matcher:
        def reach(at: int) -> int:
            limit = min(self._end, at + most)
            end = at
            while end < limit and test(self._text[end]):
                end += 1
            self.steps += end - at + 1
            return end

        def run(at: int) -> int:
            furthest = reach(at)
            places = range(at + low, furthest + 1)
            if code is op.POSSESSIVE_REPEAT:
                places = places[-1:]
            for place in places if code is op.MIN_REPEAT else reversed(places):
                self.steps += 1
                if (end := then(place)) >= 0:
                    return end
            return -1

        return run

    def _atomic(self, inner: Matcher, then: Matcher) -> Matcher:
        def run(at: int) -> int:
            return then(end) if (end := inner(at)) >= 0 else -1

        return run

    def _look(self, inner: Matcher, back: int, wanted: bool, then: Matcher) -> Matcher:
        def run(at: int) -> int:
            seen = at >= back and inner(at - back) >= 0
            return then(at) if seen is wanted else -1

        return run

    def _at(self, where: Any, then: Matcher) -> Matcher:
        word = CATEGORIES[op.CATEGORY_WORD]

        def here(at: int) -> bool:
            if where is op.AT_BOUNDARY:
                return (at > 0 and word(self._text[at - 1])) is not (at < self._end and word(self._text[at]))
            if where is op.AT_BEGINNING:
                return at == 0
            if where is op.AT_END:
                return at == self._end or (at == self._end - 1 and self._text[at] == "\n")
            raise NotImplementedError(where)

        def run(at: int) -> int:
            self.steps += 1
            return then(at) if here(at) else -1

        return run

    def _reference(self, group: int, then: Matcher) -> Matcher:
        def run(at: int) -> int:
            span = self._groups[group]
            if span is None:
                return -1
            size = span[1] - span[0]
            self.steps += size + 1
            same = at + size <= self._end and self._text[span[0] : span[1]] == self._text[at : at + size]
            return then(at + size) if same else -1

        return run


@contextmanager
def deep() -> Iterator[None]:
    """Room for matches that repeat a group often."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(DEPTH)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
