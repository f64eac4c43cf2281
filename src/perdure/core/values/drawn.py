"""What is drawn anew at each run: times and random ids, by how they look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.core.patterns import later
from perdure.core.values.describe import to_builtins
from perdure.core.values.pieces import is_apart

_DRAWN = later(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}|\d{10}\.\d+)$"
)


def drawn_anew(before: bytes, after: bytes) -> list[tuple[str, str]]:
    """In which times or random ids two inputs differ; empty if they differ in anything else, or in nothing."""
    if is_apart(before) or is_apart(after):
        return []
    mine, theirs = list(_leaves(to_builtins(before))), list(_leaves(to_builtins(after)))
    if len(mine) != len(theirs):
        return []
    pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a != b]
    return pairs if all(_DRAWN.match(a) and _DRAWN.match(b) for a, b in pairs) else []


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield str(value)
