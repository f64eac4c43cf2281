"""A plain function that the tests of decorators share."""

from __future__ import annotations


def add(a: int, b: int = 10, *rest: int, extra: int = 0) -> int:
    return a + b + sum(rest) + extra
