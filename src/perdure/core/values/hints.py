"""Annotations as they stand in the source, with the strings in them resolved as far as they can be."""

from __future__ import annotations

import contextlib
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from perdure.core.callables import unwrap


def own_annotations(where: Any) -> dict[str, Any]:
    """The annotations of a class or function itself, as they stand in the source."""
    try:
        if type(where) is types.FunctionType:
            return dict(where.__annotations__)
        import inspect

        return inspect.get_annotations(where)
    except NameError:  # Python 3.14 evaluates them here
        return {}


def hints_of(function: Any, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The annotations of a function by parameter (and "return"), each resolved by itself.

    Args:
        function: the function; what `functools.wraps` wrapped is looked through.
        names: further names, for instance the locals of the function in which it is defined.
    """
    function = unwrap(function)
    scope = scope_of(function) | dict(names or {})
    return {name: resolve(annotation, None, scope) for name, annotation in own_annotations(function).items()}


def scope_of(function: Any) -> dict[str, Any]:
    """What the strings in a function's annotations may name: the globals of its module and what it closes over."""
    function = unwrap(function)
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    scope = dict(getattr(function, "__globals__", {}))
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        with contextlib.suppress(ValueError):  # a cell that is not filled yet
            scope[name] = cell.cell_contents
    return scope | {variable.__name__: variable for variable in getattr(function, "__type_params__", ())}


def required_keys(cls: Any, hints: Mapping[str, Any]) -> set[str]:
    """The keys that every value of a TypedDict has. Python sees no NotRequired in annotations that are strings.

    Args:
        cls: the TypedDict.
        hints: its annotations, resolved.
    """
    return {name for name, hint in hints.items() if _is_required(hint, name in cls.__required_keys__)}


def _is_required(hint: Any, default: bool) -> bool:
    while args := typing.get_args(hint):
        if (origin := typing.get_origin(hint)) in (typing.Required, typing.NotRequired):
            return origin is typing.Required
        if origin is not typing.Annotated and getattr(origin, "_name", None) != "ReadOnly":
            break
        hint = args[0]
    return default


def resolve(annotation: Any, where: type | None, names: Mapping[str, Any] | None = None) -> Any:
    """An annotation with its strings replaced by what they name, seen from the class `where`.

    Returns it unchanged (a string admits anything, but no class) when a name cannot be found.

    Args:
        annotation: what stands in the source.
        where: the class that it belongs to, if any.
        names: further names, used where the class and its module do not define them.
    """
    if annotation is None or type(annotation) is type:
        return annotation
    scope: dict[str, Any] = dict(names or {})
    if isinstance(where, type):
        # In this order: a field that is called like a type must not hide the type.
        scope |= vars(where)
        scope |= getattr(sys.modules.get(where.__module__), "__dict__", {})
        # A class inside of a function refers to itself and to its neighbours, whatever the module calls by these names.
        around = where.__qualname__.rpartition(".")[0]
        near = [other for other in (where, *(names or {}).values()) if isinstance(other, type)]
        near = [other for other in near if other.__module__ == where.__module__]
        scope |= {other.__name__: other for other in near if other.__qualname__.rpartition(".")[0] == around}
    scope |= {variable.__name__: variable for variable in getattr(where, "__type_params__", ())}
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, scope, scope, include_extras=True)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return annotation
