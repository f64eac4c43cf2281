"""What is drawn anew at each run: times and random ids, by how they look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.core.patterns import later
from perdure.core.redaction.names import HIDDEN, is_secret
from perdure.core.values.describe import to_builtins
from perdure.core.values.pieces import is_apart

_DRAWN = later(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}|\d{10}\.\d+)$"
)


def drawn_anew(before: bytes, after: bytes) -> list[tuple[str, str]]:
    """In which times or random ids two inputs differ; empty if they differ in anything else, or in nothing.

    What stands under the name of a secret is not said.
    """
    if is_apart(before) or is_apart(after):
        return []
    mine, theirs = list(_leaves(to_builtins(before))), list(_leaves(to_builtins(after)))
    if len(mine) != len(theirs):
        return []
    pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a != b]
    if not all(_DRAWN.match(a) and _DRAWN.match(b) for (a, _), (b, _) in pairs):
        return []
    return [(HIDDEN, HIDDEN) if secret else (a, b) for (a, secret), (b, _) in pairs]


def _leaves(value: Any, secret: bool = False) -> Iterator[tuple[str, bool]]:
    """The texts of a value, in order, and whether a name says that they are secret."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key), False
            yield from _leaves(each, secret or is_secret(str(key)))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each, secret)
    else:
        yield str(value), secret
