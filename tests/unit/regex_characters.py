"""Which characters a node of a parsed pattern matches, and with which ones a match can begin."""

from __future__ import annotations

import re._constants as op
from collections.abc import Callable
from functools import partial
from typing import Any

Test = Callable[[str], bool]

CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: str.isdecimal,
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
    op.CATEGORY_NOT_DIGIT: lambda c: not c.isdecimal(),
    op.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
    op.CATEGORY_NOT_WORD: lambda c: not (c.isalnum() or c == "_"),
}


def _between(low: str, high: str, c: str) -> bool:
    return low <= c <= high


def single(code: Any, args: Any, ignore: bool) -> Test | None:
    """The test of one character, if the node is one."""
    if code is op.ANY:
        return lambda c: c != "\n"
    if code in (op.LITERAL, op.NOT_LITERAL, op.IN):
        test = _set(args) if code is op.IN else (lambda c: (c == chr(args)) is (code is op.LITERAL))
        known: dict[str, bool] = {}

        def cased(c: str) -> bool:
            if c not in known:
                known[c] = test(c) or (ignore and (test(c.lower()) or test(c.upper())))
            return known[c]

        return cased
    return None


def _set(items: list[Any]) -> Test:
    negated = items[0][0] is op.NEGATE
    tests: list[Callable[[str], bool]] = []
    for code, args in items[negated:]:
        if code is op.LITERAL:
            tests.append(chr(args).__eq__)
        elif code is op.RANGE:
            tests.append(partial(_between, chr(args[0]), chr(args[1])))
        else:
            tests.append(CATEGORIES[args])
    return lambda c: any(test(c) for test in tests) is not negated


def first(nodes: list[Any], ignore: bool) -> Test | None:
    """The test of the first character of every match, if there is one."""
    for code, args in nodes:
        if code in (op.ASSERT, op.ASSERT_NOT, op.AT):
            continue
        if (test := single(code, args, ignore)) is not None:
            return test
        if code is op.SUBPATTERN:
            return first(list(args[3]), ignore)
        if code is op.ATOMIC_GROUP:
            return first(list(args), ignore)
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT) and args[0] > 0:
            return first(list(args[2]), ignore)
        return _any([first(list(each), ignore) for each in args[1]]) if code is op.BRANCH else None
    return None


def _any(tests: list[Test | None]) -> Test | None:
    """Whether one of them holds; no test at all if one is missing."""
    known = [test for test in tests if test is not None]
    return (lambda c: any(test(c) for test in known)) if len(known) == len(tests) else None
