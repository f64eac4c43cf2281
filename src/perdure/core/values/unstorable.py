"""Annotations of which no value can ever be stored: found before any work is done for one."""

from __future__ import annotations

import typing
from typing import Any

from perdure.core.redaction.secret import Secret
from perdure.core.values import registry
from perdure.core.values.annotations import Anything, Closed
from perdure.core.values.builtin_types import LOWERING
from perdure.core.values.classes import Members, is_typed_dict, record_of
from perdure.core.values.extensions import SCALARS
from perdure.core.values.hints import required_keys
from perdure.core.values.library_types import lowering_of


def unstorable(closed: Closed, annotation: Any) -> Any | None:
    """The part of an annotation that keeps every value of it from being stored; None if there are values that can be.

    A list could be empty, but one that is declared as a list of connections is meant to hold some. An annotation that
    cannot be read, and a protocol that cannot be checked, count as storable.
    """
    return _look(closed, annotation, set())


def _look(closed: Closed, annotation: Any, seen: set[Any]) -> Any | None:
    bad: Any = None
    for one in closed.expand(annotation):
        found = None if one is Anything else _look_at(closed, one, seen)
        if found is None:
            return None
        bad = bad if bad is not None else found
    return bad


def _look_at(closed: Closed, one: Any, seen: set[Any]) -> Any | None:
    key = repr(one)
    if key in seen:
        return None
    seen = seen | {key}
    origin, args = typing.get_origin(one), typing.get_args(one)
    cls: Any = origin or one
    if origin is typing.Literal:
        return None
    if is_typed_dict(cls):
        fields = closed.fields(one)
        required = required_keys(cls, fields)
        return _first(closed, [each for name, each in fields.items() if name in required], seen)
    if cls in LOWERING or cls in SCALARS or lowering_of(cls) is not None:
        if cls is Secret:
            return one
        inner = [arg for arg in args if arg is not ... and not isinstance(arg, list)]
        return _first(closed, inner, seen) if cls in _CONTAINERS else None
    record = record_of(cls)
    if isinstance(record, Members):
        return None
    if record is not None:
        return _first(closed, list(closed.fields(one).values()), seen)
    return None if any(_is_below(kind, cls) for kind in (*LOWERING, *SCALARS, *registry.registered())) else one


def _first(closed: Closed, annotations: list[Any], seen: set[Any]) -> Any | None:
    return next((bad for each in annotations if (bad := _look(closed, each, seen)) is not None), None)


def _is_below(kind: type, cls: type) -> bool:
    try:
        return kind is not Secret and issubclass(kind, cls)
    except TypeError:  # a protocol that cannot be checked
        return True


_CONTAINERS = (list, tuple, dict, set, frozenset)
