"""The workflows of a loaded script: its own, what it has imported, and what stands in modules that it has imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import ModuleType

from perdure.core.execution.spec import Decorated, spec_of


def reachable_workflows(script: ModuleType) -> Iterator[Decorated]:
    """Each of them, the nearest first. Nothing is loaded or executed for it.

    Of several of one name, that which is the fewest modules away counts; none if there are several such.
    """
    seen = {id(script)}
    level = [script]
    named: set[str] = set()
    while level:
        values = [value for module in level for value in list(vars(module).values())]
        found = {id(value._spec): value for value in values if issubclass(type(value), Decorated)}  # no proxy is asked
        found = {key: value for key, value in found.items() if spec_of(value).kind == "workflow"}
        names = Counter(spec_of(value).name for value in found.values())
        for value in found.values():
            if names[name := spec_of(value).name] == 1 and name not in named:
                yield value
        named |= names.keys()
        modules = {id(value): value for value in values if issubclass(type(value), ModuleType)}
        level = [module for key, module in modules.items() if key not in seen]
        seen |= modules.keys()
