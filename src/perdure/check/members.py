"""What members of instances of the project's classes come from: attributes, properties, what `with` enters, fields."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Protocol

from perdure.check.names import Instance, Names, Value
from perdure.check.origins import EMPTY, Taint
from perdure.check.project import Class, Function, Module, decorators
from perdure.check.scan import dotted

PROPERTIES = ("property", "cached_property")
ENTERED = ("__enter__", "__aenter__")


class Tracer(Protocol):
    """Goes through what a member is made by (see flow.py)."""

    names: Names

    def enter_plainly(self, function: Function) -> Taint:
        """What a helper gives that is called with plain arguments."""

    def elsewhere(self, nodes: Iterable[ast.expr], module: Module, function: Function | None) -> Taint:
        """What expressions of another place give."""


def read(flow: Tracer, base: Value, name: str) -> Taint:
    """What an attribute of an instance comes from: what methods assign to it, or what a property returns.

    What the environment says is left out, as in names of a module: programs are set up by it.
    """
    taint = EMPTY
    for cls in _line(flow.names, base):
        method = cls.methods.get(name)
        if method is not None:
            is_property = any((dotted(one) or "").rpartition(".")[2] in PROPERTIES for one in decorators(method))
            return flow.enter_plainly(method) if is_property else EMPTY
        for value, where in cls.attributes.get(name, ()):
            taint |= flow.elsewhere([value], cls.module, where or cls.parent)
    return frozenset(one for one in taint if one.label != "environment")


def entered(flow: Tracer, base: Value) -> Taint:
    """What `with` binds, of an instance: what its `__enter__` returns."""
    for cls in _line(flow.names, base):
        for name in ENTERED:
            if name in cls.methods:
                return flow.enter_plainly(cls.methods[name])
    return EMPTY


def defaults(flow: Tracer, cls: Class, node: ast.Call) -> Taint:
    """What the fields come from that the making of an instance does not give: `field(default_factory=uuid4)`."""
    given = {keyword.arg for keyword in node.keywords}
    if None in given or any(isinstance(arg, ast.Starred) for arg in node.args):
        return EMPTY
    left = cls.factories[len(node.args) :]
    factories = [factory for name, factory in left if name not in given and factory is not None]
    return flow.elsewhere(factories, cls.module, cls.parent)


def _line(names: Names, base: Value) -> Iterator[Class]:
    """The class of an instance, and those of the project that it is derived from."""
    found = [base.cls] if isinstance(base, Instance) else []
    for cls in found:
        yield cls
        for each in cls.node.bases:
            above = names.value(each, cls.module, cls.parent)
            if isinstance(above, Class) and above not in found:
                found.append(above)
