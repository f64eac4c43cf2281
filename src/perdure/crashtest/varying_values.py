"""Values that are another one in each run in some of their parts: what they have in common, and what fits to that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final


class _Any:
    """What differs: anything fits."""

    def __repr__(self) -> str:
        return "..."


ANY: Final = _Any()


def common(values: Sequence[Any]) -> Any:
    """What is the same in all of them, with `ANY` for what differs.

    Args:
        values: made of dicts, lists and scalars, as JSON has them.
    """
    one = values[0]
    if all(type(each) is type(one) for each in values):
        if isinstance(one, dict) and all(each.keys() == one.keys() for each in values):
            return {key: common([each[key] for each in values]) for key in one}
        if isinstance(one, list) and all(len(each) == len(one) for each in values):
            return [common(list(column)) for column in zip(*values, strict=True)]
        if all(each == one for each in values):
            return one
    return ANY


def fits(pattern: Any, value: Any) -> bool:
    """Is a value as the others are in all that these have in common?"""
    if pattern is ANY:
        return True
    if type(pattern) is not type(value):
        return False
    if isinstance(pattern, dict):
        return pattern.keys() == value.keys() and all(fits(each, value[key]) for key, each in pattern.items())
    if isinstance(pattern, list):
        return len(pattern) == len(value) and all(map(fits, pattern, value))
    return bool(pattern == value)


def difference(pattern: Any, value: Any, path: str = "") -> tuple[str, Any, Any]:
    """The first place where a value does not fit: its path, what is common there, and the value there."""
    if isinstance(pattern, dict) and isinstance(value, dict) and pattern.keys() == value.keys():
        key = next(key for key, each in pattern.items() if not fits(each, value[key]))
        return difference(pattern[key], value[key], f"{path}.{key}")
    if isinstance(pattern, list) and isinstance(value, list) and len(pattern) == len(value):
        at = next(at for at, each in enumerate(pattern) if not fits(each, value[at]))
        return difference(pattern[at], value[at], f"{path}[{at}]")
    return path, pattern, value


def differing(pattern: Any, path: str = "") -> Iterator[str]:
    """The places that differ, as `.total` or `[2].id`; an empty one for the whole."""
    if pattern is ANY:
        yield path
    elif isinstance(pattern, dict):
        for key, each in pattern.items():
            yield from differing(each, f"{path}.{key}")
    elif isinstance(pattern, list):
        for place, each in enumerate(pattern):
            yield from differing(each, f"{path}[{place}]")
