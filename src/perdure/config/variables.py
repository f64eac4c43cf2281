"""Environment variables, looked up fast: a run asks for dozens, and nearly none of them is set.

`os.environ.get` passes through three functions, an exception among them, for each that is not set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any


def variable(name: str) -> str | None:
    """The value of an environment variable; None if it is not set."""
    data = getattr(os.environ, "_data", None)
    if data is not None and _key(name) not in data:
        return None
    return os.environ.get(name)


def snapshot(names: Sequence[str]) -> tuple[Any, ...]:
    """What these variables are, to be compared with another snapshot."""
    data = getattr(os.environ, "_data", None)
    if data is None:
        return tuple(map(os.environ.get, names))
    return tuple(map(data.get, map(_key, names)))


@lru_cache(256)
def _key(name: str) -> Any:
    """As it stands in the environment of this system."""
    return getattr(os.environ, "encodekey", str)(name)
