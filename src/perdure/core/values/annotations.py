"""What an annotation admits: the closed set of classes that stored bytes may become, and where each may stand.

Only classes that the annotation itself reaches (through unions, containers, generics, aliases and the fields of
classes) are in the set. Positions are worked out when a value gets there, so that recursive types need no special case.
"""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from perdure.core.callables import EMPTY
from perdure.core.values.builtin_bases import BASES
from perdure.core.values.builtin_types import LOWERING
from perdure.core.values.classes import Record, Subclass, is_typed_dict, record_of
from perdure.core.values.hints import own_annotations, required_keys, resolve

_WRAPPERS: Final = frozenset({"Required", "NotRequired", "ReadOnly", "Final", "ClassVar", "InitVar"})
_AWAITABLE: Final = (collections.abc.Awaitable, collections.abc.Coroutine)
# What a generic annotation is compared with item by item.
_CONTAINERS: Final = (list, tuple, dict, set, frozenset, collections.deque)
# PEP 484: an int is acceptable where a float is declared, and so on.
_TOWER: Final[dict[type, tuple[type, ...]]] = {float: (int,), complex: (int, float)}
# A generic class may name itself with ever larger arguments; further down than this, it names no more classes.
_FAR: Final = 40


class Anything:
    """Stands for an annotation that names no classes: none at all, Any, object, or one that cannot be read."""


def type_name(annotation: Any) -> str:
    """An annotation as a user would write it."""
    if annotation is type(None):
        return "None"
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__qualname__.rpartition("<locals>.")[2]
    if isinstance(annotation, (str, typing.ForwardRef)):
        return annotation if isinstance(annotation, str) else annotation.__forward_arg__
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " | ".join(map(type_name, typing.get_args(annotation)))
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is not None and isinstance(origin, type) and args:
        inner = ", ".join("..." if arg is ... else type_name(arg) for arg in args)
        return f"{type_name(origin)}[{inner}]"
    return repr(annotation).replace("typing.", "")


class Closed:
    """The closed set of classes of one annotation (or several), and the positions in it.

    Args:
        annotations: the annotations; a string that cannot be resolved admits anything, but no class.
        names: what strings in the annotations, and in the fields of classes, may name beside their modules' globals.
    """

    def __init__(self, *annotations: Any, names: Mapping[str, Any] | None = None) -> None:
        self.scope = names or {}
        self.records: dict[type, Record] = {}
        self.bases: set[type] = set()
        self.unread: list[str] = []
        self._fields: dict[Any, dict[str, Any]] = {}
        self._positions: dict[Any, Position | None] = {}
        self._places: dict[Any, list[tuple[str, Position]]] = {}
        self._seen: dict[Any, bool] = {}
        for annotation in annotations:
            self._collect(annotation, 0)
        self.labels: dict[type, str] = {}
        self.names: dict[str, Record] = {}
        shared = collections.Counter(cls.__qualname__ for cls in self.records)
        for cls, record in self.records.items():
            name = cls.__qualname__
            label = name if shared[name] == 1 else f"{cls.__module__}.{name}"
            self.labels[cls] = label
            self.names[label] = record

    def admit(self, cls: type) -> tuple[str, Record] | None:
        """The name to write for an instance of exactly `cls`, and its record; None outside of the set."""
        record = self.records.get(cls)
        if record is not None:
            return self.labels[cls], record
        for label, visible in self._visible():
            if visible is cls and label not in self.names and (found := record_of(cls)) is not None:
                return label, found
        return None

    def find(self, label: str) -> Record | None:
        """The record of the class of this set that is written under that name."""
        record = self.names.get(label)
        if record is None:
            record = next((record_of(cls) for name, cls in self._visible() if name == label), None)
        return record

    def _visible(self) -> Iterator[tuple[str, type]]:
        """The subclasses of the builtin classes in the annotation, as far as the scope has a name for them.

        Where a float is declared, a `class Celsius(float)` that the same module knows may stand too.
        """
        if self.bases:
            bases = tuple(self.bases)
            for value in self.scope.values():
                # One with a codec needs no place in the set.
                if isinstance(value, type) and issubclass(value, bases) and value not in LOWERING:
                    yield value.__qualname__, value

    def position(self, annotation: Any) -> Position | None:
        """What may stand where `annotation` is declared; None when any value may."""
        key = _key(annotation)
        if key not in self._positions:
            choices = self.expand(annotation)
            free = any(choice is Anything for choice in choices)
            strict = not free and any(map(self._names_classes, choices))
            self._positions[key] = None if free else Position(self, annotation, choices, strict)
        return self._positions[key]

    def expand(self, annotation: Any, depth: int = 0) -> list[Any]:
        """The alternatives of an annotation: `Anything`, classes, generic aliases and Literals."""
        if depth > _FAR:
            return [Anything]
        again = depth + 1
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if annotation is None:
            return [type(None)]
        if annotation in (Any, object, EMPTY, Anything):
            return [Anything]
        if origin in (typing.Union, types.UnionType):
            return [one for arg in args for one in self.expand(arg, again)]
        if origin is typing.Annotated or (args and getattr(origin, "_name", None) in _WRAPPERS):
            return self.expand(args[0], again)
        if origin in _AWAITABLE:
            return self.expand(args[-1], again)
        if isinstance(annotation, typing.NewType):
            return self.expand(annotation.__supertype__, again)
        if isinstance(annotation, typing.TypeVar):
            return [
                one
                for arg in annotation.__constraints__ or (annotation.__bound__ or Any,)
                for one in self.expand(arg, again)
            ]
        alias = annotation if origin is None else origin
        if type(alias).__name__ == "TypeAliasType":
            return self._expand_alias(alias, args, again)
        if origin is typing.Literal or isinstance(alias, type):
            return [annotation]
        if isinstance(annotation, (str, typing.ForwardRef)):
            # typing leaves the strings inside recursive aliases as they are.
            for where in (None, *self.records):
                found = resolve(annotation, where, self.scope)
                if not isinstance(found, (str, typing.ForwardRef)):
                    return self.expand(found, again)
        self.unread.append(type_name(annotation))
        return [Anything]

    def _expand_alias(self, alias: Any, args: tuple[Any, ...], depth: int) -> list[Any]:
        try:
            value = alias.__value__
        except (NameError, AttributeError, TypeError):
            self.unread.append(alias.__name__)
            return [Anything]
        return self.expand(_substitute(value, dict(zip(alias.__type_params__, args, strict=False))), depth)

    def fields(self, annotation: Any) -> dict[str, Any]:
        """The annotations of a class's fields, with its type arguments put in."""
        key = _key(annotation)
        if key not in self._fields:
            origin = typing.get_origin(annotation) or annotation
            self._fields[key] = _field_annotations(origin, typing.get_args(annotation), self._known())
        return self._fields[key]

    def places(self, annotation: Any) -> list[tuple[str, Position]]:
        """The fields of a class of which not every value may stand there."""
        key = _key(annotation)
        if key not in self._places:
            found = [(name, self.position(each)) for name, each in self.fields(annotation).items()]
            self._places[key] = [(name, position) for name, position in found if position is not None]
        return self._places[key]

    def _known(self) -> dict[str, Any]:
        return dict(self.scope) | {cls.__name__: cls for cls in self.records if cls.__name__ not in self.scope}

    def _names_classes(self, annotation: Any) -> bool:
        """Whether an alternative reaches any class of the set."""
        key = _key(annotation)
        found = self._seen.get(key)
        if found is None:
            probe = Closed(annotation, names=self.scope)
            found = self._seen[key] = bool(probe.records)
        return found

    def _collect(self, annotation: Any, depth: int, seen: set[Any] | None = None) -> None:
        seen = set() if seen is None else seen
        todo = [(annotation, depth)]
        while todo:
            annotation, depth = todo.pop()
            for one in self.expand(annotation):
                key = _key(one)
                if one is Anything or key in seen or depth > _FAR:
                    continue
                seen.add(key)
                todo += [(inner, depth + 1) for inner in self._inside(one)]

    def _inside(self, one: Any) -> list[Any]:
        """The annotations inside an alternative; its class, if it has fields, joins the set."""
        origin, args = typing.get_origin(one), typing.get_args(one)
        if origin is typing.Literal:
            return [type(arg) for arg in args if isinstance(arg, enum.Enum)]
        cls = origin or one
        if cls in BASES:
            self.bases.add(cls)
        record = record_of(cls)
        # What was stored before its class had a codec stays readable.
        if record is not None and not (cls in LOWERING and isinstance(record, Subclass)):
            self.records[cls] = record
            return list(self.fields(one).values())
        if is_typed_dict(cls):
            return list(self.fields(one).values())
        return [arg for arg in args if arg is not ... and not isinstance(arg, list)]


Misfit = tuple[str, Any, "Position"]
"""Where in a value, what stands there, and what should."""


class Position:
    """What may stand at one place.

    Args:
        closed: the set that it belongs to.
        annotation: what is declared there.
        choices: its alternatives.
        strict: it names classes. What does not fit there is refused; at other places it is only noted.
    """

    def __init__(self, closed: Closed, annotation: Any, choices: list[Any], strict: bool) -> None:
        self.closed = closed
        self.annotation = annotation
        self.choices = choices
        self.strict = strict
        self._by_type: dict[type, list[Any]] = {}
        self._easy: set[type] = set()

    def fits(self, kind: type) -> bool:
        """Whether every value of exactly `kind` may stand here, so that none has to be looked into."""
        return kind in self._easy or (bool(self._choices(kind)) and kind in self._easy)

    def _choices(self, kind: type) -> list[Any]:
        choices = self._by_type.get(kind)
        if choices is None:
            choices = self._by_type[kind] = [one for one in self.choices if _accepts(one, kind)]
            if any(self._is_easy(one, kind) for one in choices):
                self._easy.add(kind)
        return choices

    def _is_easy(self, one: Any, kind: type) -> bool:
        cls = typing.get_origin(one) or one
        if cls is typing.Literal or is_typed_dict(cls) or (kind is cls and self._has_fields(kind)):
            return False
        if kind in self.closed.records or not issubclass(kind, _CONTAINERS):
            return True
        return all(arg is not ... and self.closed.position(arg) is None for arg in typing.get_args(one))

    def _has_fields(self, kind: type) -> bool:
        return kind in self.closed.records and not issubclass(kind, enum.Enum)

    def misfit(self, value: Any, strict: bool = False) -> Misfit | None:
        """The first place at which `value` does not fit, or None.

        Args:
            value: what stands here.
            strict: look only at the places that name classes.
        """
        kind = type(value)
        if kind in self._easy or (strict and not self.strict):
            return None
        choices = self._choices(kind)
        bad: Misfit | None = ("", value, self)
        for one in choices:
            bad = self._inside(one, value, strict)
            if bad is None:
                return None
        return bad

    def _inside(self, one: Any, value: Any, strict: bool) -> Misfit | None:
        closed, args = self.closed, typing.get_args(one)
        cls = typing.get_origin(one) or one
        kind = type(value)
        if cls is typing.Literal:
            return None if any(arg == value and type(arg) is kind for arg in args) else ("", value, self)
        if kind is cls and self._has_fields(kind):
            return self._named(one, value, strict)
        if is_typed_dict(cls):
            fields = closed.fields(one)
            if not (strict or fields.keys() <= value.keys() or required_keys(cls, fields) <= value.keys()):
                return "", value, self
            return self._keyed(fields, value, strict)
        if not args or kind in closed.records or not isinstance(value, _CONTAINERS):
            return None
        if isinstance(value, tuple) and cls is tuple and not (len(args) == 2 and args[1] is ...):
            return self._fixed(args, value, strict)
        if isinstance(value, dict):
            return self._mapping(args, value, strict)
        each = closed.position(args[0])
        if each is None or each.fit_all(value):
            return None
        for index, item in enumerate(value):
            if (bad := each.misfit(item, strict)) is not None:
                return f"[{index}]{bad[0]}", bad[1], bad[2]
        return None

    def fit_all(self, values: Collection[Any]) -> bool:
        """Whether all of these fit, as far as their types alone say so."""
        return self._easy.issuperset(map(type, values)) or all(map(self.fits, set(map(type, values))))

    def _named(self, one: Any, value: Any, strict: bool) -> Misfit | None:
        for name, position in self.closed.places(one):
            item = getattr(value, name)
            if type(item) not in position._easy and (bad := position.misfit(item, strict)) is not None:
                return f".{name}{bad[0]}", bad[1], bad[2]
        return None

    def _keyed(self, fields: dict[str, Any], value: Any, strict: bool) -> Misfit | None:
        for name, annotation in fields.items():
            position = self.closed.position(annotation) if name in value else None
            if position is not None and (bad := position.misfit(value[name], strict)) is not None:
                return f"[{name!r}]{bad[0]}", bad[1], bad[2]
        return None

    def _fixed(self, args: tuple[Any, ...], value: tuple[Any, ...], strict: bool) -> Misfit | None:
        if any(getattr(arg, "__unpacked__", False) or typing.get_origin(arg) is typing.Unpack for arg in args):
            return None
        if len(args) != len(value):
            return "", value, self
        for index, (annotation, item) in enumerate(zip(args, value, strict=True)):
            position = self.closed.position(annotation)
            if position is not None and (bad := position.misfit(item, strict)) is not None:
                return f"[{index}]{bad[0]}", bad[1], bad[2]
        return None

    def _mapping(self, args: tuple[Any, ...], value: dict[Any, Any], strict: bool) -> Misfit | None:
        keys = self.closed.position(args[0])
        items = self.closed.position(args[1]) if len(args) > 1 else None  # a Counter is declared by its keys alone
        look_at_keys = keys is not None and not keys.fit_all(value)
        look_at_items = items is not None and not items.fit_all(value.values())
        if not look_at_keys and not look_at_items:
            return None
        for key, item in value.items():
            if look_at_keys and keys is not None and (bad := keys.misfit(key, strict)) is not None:
                return f"<key {key!r}>{bad[0]}", bad[1], bad[2]
            if look_at_items and items is not None and (bad := items.misfit(item, strict)) is not None:
                return f"[{key!r}]{bad[0]}", bad[1], bad[2]
        return None


def _accepts(one: Any, kind: type) -> bool:
    """Whether values of exactly `kind` may be meant by the alternative `one`."""
    cls = typing.get_origin(one) or one
    if cls is typing.Literal:
        return any(type(arg) is kind for arg in typing.get_args(one))
    if is_typed_dict(cls):
        return kind is dict
    if kind is cls or kind in _TOWER.get(cls, ()):
        return True
    try:
        return issubclass(kind, cls)
    except TypeError:  # a protocol that cannot be checked
        return True


def _key(annotation: Any) -> Any:
    """Something to remember an annotation by; Annotated may hold metadata that cannot be hashed."""
    try:
        hash(annotation)
    except TypeError:
        return repr(annotation)
    return annotation


def _substitute(annotation: Any, values: dict[Any, Any]) -> Any:
    """The annotation with type variables replaced; one without a value admits anything."""
    if isinstance(annotation, typing.TypeVar):
        return values.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not values or not parameters or (isinstance(annotation, type) and typing.get_origin(annotation) is None):
        return annotation
    try:
        return annotation[tuple(values.get(parameter, parameter) for parameter in parameters)]
    except TypeError:
        return Anything


def _field_annotations(cls: Any, args: tuple[Any, ...], names: dict[str, Any]) -> dict[str, Any]:
    """The annotations of the fields of `cls`, resolved, in the order of its bases."""
    record = record_of(cls)
    given = record.annotations() if record is not None else None
    wanted = None if record is None else frozenset(record.names)
    values: dict[type, dict[Any, Any]] = {cls: dict(zip(_parameters(cls), args, strict=False))}
    bases = [cls] if is_typed_dict(cls) else list(cls.__mro__)
    for base in bases:
        for generic in base.__dict__.get("__orig_bases__", ()):
            origin = typing.get_origin(generic)
            if isinstance(origin, type) and origin is not typing.Generic:
                inner = [_substitute(arg, values.get(base, {})) for arg in typing.get_args(generic)]
                values.setdefault(origin, dict(zip(_parameters(origin), inner, strict=False)))
    if given is not None:
        return {name: resolve(annotation, cls, names) for name, annotation in given.items()}
    found: dict[str, Any] = {}
    for base in reversed(bases):
        for name, annotation in own_annotations(base).items():
            if wanted is None or name in wanted:
                found[name] = _substitute(resolve(annotation, base, names), values.get(base, {}))
    return found


def _parameters(cls: Any) -> tuple[Any, ...]:
    return getattr(cls, "__parameters__", ())
