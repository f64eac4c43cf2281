"""The register of what raises the exceptions of well-known libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAKERS: dict[str, tuple[str, Callable[[Any], Any]]] = {}


def error(module: str, name: str = "") -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Registers a function that is given the module and raises an error, or returns one."""

    def register(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        MAKERS[name or make.__name__] = (module, make)
        return make

    return register


def simple(module: str, **made: Callable[[Any], Any]) -> None:
    """Errors that their class makes of a few arguments."""
    for name, make in made.items():
        MAKERS[f"{module}:{name}"] = (module, make)
