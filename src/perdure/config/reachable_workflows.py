"""The workflows of a loaded script: its own, what it has imported, and what stands in modules that it has imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import ModuleType

from perdure.core.execution.spec import Decorated, Spec, spec_of


def reachable_workflows(script: ModuleType) -> Iterator[Decorated]:
    """Each of them, the nearest first. Nothing is loaded or executed for it.

    Of several of one name, that which is the fewest modules away counts; none if there are several such.
    """
    named: set[str] = set()
    for found in _levels(script):
        names = Counter(spec_of(value).name for value in found)
        for value in found:
            if names[name := spec_of(value).name] == 1 and name not in named:
                yield value
        named |= names.keys()


def leads_to(script: ModuleType, wanted: Spec) -> bool:
    """Does the script define or import that workflow, or a module that has it, or one that such a module has?"""
    about = wanted.name, wanted.place, wanted.file
    return any((one.name, one.place, one.file) == about for found in _levels(script) for one in map(spec_of, found))


def _levels(script: ModuleType) -> Iterator[list[Decorated]]:
    """The workflows that the names of the script lead to, then those of the modules that it has, and so on."""
    seen = {id(script)}
    level = [script]
    while level:
        values = [value for module in level for value in list(vars(module).values())]
        found = {id(value._spec): value for value in values if issubclass(type(value), Decorated)}  # no proxy is asked
        yield [value for value in found.values() if spec_of(value).kind == "workflow"]
        modules = {id(value): value for value in values if issubclass(type(value), ModuleType)}
        level = [module for key, module in modules.items() if key not in seen]
        seen |= modules.keys()
