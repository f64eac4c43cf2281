"""Values that a person has edited, made again as their annotations and classes would make them.

What was changed inside of an instance goes through its class's own constructor, from the inside out. What does not fit
its place is made of the plain data that was given, by the one alternative of the annotation that takes it: another
member of a union, an instance in the place of None.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import pathlib
import typing
import uuid
from typing import Any, Final

import msgspec

from perdure.core.redaction.names import HIDDEN, is_secret
from perdure.core.values.annotations import Closed, Misfit, Position, type_name
from perdure.core.values.classes import Members, Record, Subclass, is_typed_dict
from perdure.core.values.constructing import (
    ABSENT,
    NotAsked,
    construct,
    construct_changed,
    is_model,
    names_of,
    said,
    same,
)
from perdure.core.values.extensions import NoMember

Place = tuple[str, ...]

_LEAVES: Final = (
    decimal.Decimal,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
)
_LISTS: Final = (tuple, set, frozenset, collections.deque)


class Refusal(Exception):
    """What was given cannot stand at a place: where, and what is said of it.

    `raw`: it is plain data, which a model around it may still make something of.
    """

    def __init__(self, place: Place, text: str, *, raw: bool = False) -> None:
        super().__init__(text)
        self.place, self.text, self.raw = place, text, raw


class NoWay(Refusal):
    """Nothing of that kind is made of plain data."""


class Remaking:
    """Makes changed values again.

    Args:
        closed: the classes that may stand there.

    `made` are the places that were made of plain data; `fitting` those whose new value was compared with what is
    declared there; `unasked` says which constructors could not be called.
    """

    def __init__(self, closed: Closed) -> None:
        self.closed = closed
        self.made: set[Place] = set()
        self.fitting: set[Place] = set()
        self.unasked: list[str] = []

    def remade(self, value: Any, annotation: Any, before: Any, place: Place) -> tuple[Any, bool, Refusal | None]:
        """The value, made again where it has changed; whether it has; and why it cannot stand there, if it cannot.

        Args:
            value: what was edited.
            annotation: what is declared at its place.
            before: what stood there; ABSENT for nothing.
            place: the way to it.
        """
        position = self.closed.position(annotation)
        value, changed, refusal = self._inside(value, position, before, place)
        if not changed:
            return value, False, None
        if position is None:
            return value, True, refusal
        if refusal is None:
            refusal = self._misfit(position, value, before, place)
        if refusal is None:
            self.fitting.add(place)
            return value, True, None
        try:
            made = self._otherwise(position, value, before, place, refusal)
        except Refusal as other:
            return value, True, other
        self.made.add(place)
        return made, True, None

    def _misfit(self, position: Position, value: Any, before: Any, place: Place) -> Refusal | None:
        bad = position.misfit(value)
        if bad is None or (before is not ABSENT and _alike(bad, position.misfit(before))):
            return None
        return Refusal(place, misfit_text(written(place), bad), raw=_is_raw(value))

    # -- what is inside of a value --

    def _inside(
        self, value: Any, position: Position | None, before: Any, place: Place
    ) -> tuple[Any, bool, Refusal | None]:
        kind = type(value)
        record = self.closed.records.get(kind)
        if record is not None and not isinstance(record, Members):
            return self._instance(value, record, _declared(position, kind) or kind, before, place)
        if kind in (list, tuple, collections.deque):
            return self._items(value, _declared(position, kind), before, place)
        if kind in (dict, collections.OrderedDict):
            return self._entries(value, _declared(position, kind), before, place)
        return value, not same(value, before), None

    def _instance(
        self, value: Any, record: Record, declared: Any, before: Any, place: Place
    ) -> tuple[Any, bool, Refusal | None]:
        now = record.take(value)
        old = record.take(before) if type(before) is type(value) else ({}, {})
        fields, changed, refusal = self._fields(now[0], self.closed.fields(declared), old[0], place)
        if not changed and old[0] and all(same(item, old[1].get(name, ABSENT)) for name, item in now[1].items()):
            return value, False, None
        if refusal is None or (refusal.raw and is_model(record.cls)):
            try:
                if old[0]:
                    made = construct_changed(record, (fields, now[1]), old, changed)
                else:
                    made = construct(record, fields, now[1])
                self.made |= {place} if refusal is not None else set()
                return made, True, None
            except NotAsked as error:
                self.unasked.append(f"{written(place)}: {error}")
            except Exception as error:  # noqa: BLE001 - the class's own
                refusal = Refusal(place, f"{written(place)}: {record.label} refuses it: {said(error)}")
        try:
            return record.build(fields, now[1]), True, refusal
        except Exception as error:  # noqa: BLE001 - the class's own
            return value, True, refusal or Refusal(place, f"{written(place)}: {said(error)}")

    def _fields(
        self, now: dict[str, Any], declared: dict[str, Any], old: dict[str, Any], place: Place
    ) -> tuple[dict[str, Any], set[str], Refusal | None]:
        fields, changed, refusal = dict(now), set(), None
        for name, item in now.items():
            at = self.remade(item, declared.get(name, Any), old.get(name, ABSENT), (*place, name))
            fields[name], differs, bad = at
            if differs:
                changed.add(name)
            refusal = _first(refusal, bad)
        return fields, changed, refusal

    def _items(self, value: Any, declared: Any, before: Any, place: Place) -> tuple[Any, bool, Refusal | None]:
        args = typing.get_args(declared)
        fixed = type(value) is tuple and not (len(args) == 2 and args[1] is ...) and len(args) == len(value)
        old = list(before) if type(before) is type(value) else []
        items, refusal = [], None
        changed = len(old) != len(value) or type(before) is not type(value)
        for at, item in enumerate(value):
            each = args[at] if fixed else args[0] if args else Any
            made, differs, bad = self.remade(item, each, old[at] if at < len(old) else ABSENT, (*place, str(at)))
            items.append(made)
            changed, refusal = changed or differs, _first(refusal, bad)
        if not changed:
            return value, False, None
        return (
            (collections.deque(items, value.maxlen) if type(value) is collections.deque else type(value)(items)),
            True,
            refusal,
        )

    def _entries(self, value: Any, declared: Any, before: Any, place: Place) -> tuple[Any, bool, Refusal | None]:
        old = before if isinstance(before, dict) else {}
        if is_typed_dict(typing.get_origin(declared) or declared):
            each = self.closed.fields(declared)
        else:
            args = typing.get_args(declared)
            each = dict.fromkeys(value, args[1] if len(args) > 1 else Any)
        entries, changed, refusal = {}, type(before) is not type(value) or list(old) != list(value), None
        for key, item in value.items():
            at = self.remade(item, each.get(key, Any), old.get(key, ABSENT), (*place, str(key)))
            entries[key], differs, bad = at
            changed, refusal = changed or differs, _first(refusal, bad)
        return (type(value)(entries) if changed else value), changed, refusal

    # -- plain data as what is declared --

    def _otherwise(self, position: Position, value: Any, before: Any, place: Place, refusal: Refusal) -> Any:
        found: list[tuple[Any, Any]] = []
        refusals: list[Refusal] = []
        for one in position.choices:
            cls = typing.get_origin(one) or one
            if not isinstance(cls, type) or (cls is type(value) and cls in self.closed.records):
                continue
            try:
                found.append((one, self._made(one, cls, value, before, place)))
            except Refusal as other:
                refusals.append(other)
        if not found:
            told = [other for other in refusals if not isinstance(other, NoWay)]
            said_by = [*([] if refusal.raw or (told and type(value) is dict) else [refusal]), *told] or [refusal]
            raise Refusal(place, "; ".join(each.text for each in said_by), raw=refusal.raw)
        classes = [one for one, made in found if self._is_instance(made)]
        if len(classes) > 1:
            names = " or ".join(map(type_name, classes))
            raise Refusal(place, f"{written(place)} may be {names}: give what only one of them has")
        return found[0][1]

    def _is_instance(self, value: Any) -> bool:
        return type(value) in self.closed.records

    def _made(self, one: Any, cls: type, value: Any, before: Any, place: Place) -> Any:
        record = self.closed.records.get(cls)
        try:
            if isinstance(record, Members):
                return self._member(record, value)
            if record is not None:
                return self._instance_of(one, record, value, before, place)
            if cls in _LISTS and type(value) is list:
                made, _, refusal = self.remade(cls(value), one, ABSENT, place)
                if refusal is not None:
                    raise refusal
                return made
            if isinstance(value, str) and issubclass(cls, pathlib.PurePath | fractions.Fraction):
                return cls(value)
            if cls in _LEAVES and isinstance(value, str | int | float):
                return msgspec.convert(value, cls)
        except Refusal:
            raise
        except Exception as error:  # noqa: BLE001 - the class's own
            raise Refusal(place, f"{written(place)}: {type_name(one)} refuses it: {said(error)}") from None
        raise NoWay(place, f"{written(place)} cannot be made a {type_name(one)}")

    def _member(self, record: Members, value: Any) -> Any:
        try:
            return record.member(value)
        except NoMember:
            cls: Any = record.cls
            return cls(value)

    def _instance_of(self, one: Any, record: Record, value: Any, before: Any, place: Place) -> Any:
        if isinstance(record, Subclass):
            return construct(record, {"value": record.base(value) if type(value) is not record.base else value}, {})
        names = names_of(record)
        held = self.closed.records.get(type(value))
        if held is not None and not isinstance(held, Members | Subclass):
            data: dict[Any, Any] = held.take(value)[0]
            old = held.take(before)[0] if type(before) is type(value) else {}
            # What another class has no place for, and nobody has changed, goes with the class that it was of.
            data = {name: item for name, item in data.items() if name in names or not same(item, old.get(name, ABSENT))}
        elif type(value) is dict:
            data = {names.get(name, name): item for name, item in value.items()}
        else:
            raise Refusal(place, f"{written(place)} is no object")
        extra = is_model(record.cls) and getattr(record.cls, "model_config", {}).get("extra") == "allow"
        if not extra and (unknown := [name for name in data if name not in names]):
            raise Refusal(place, f"{written(place)}: {record.label} has no field {unknown[0]!r}")
        fields, _, refusal = self._fields(data, self.closed.fields(one), {}, place)
        if refusal is not None and not is_model(record.cls):
            raise refusal
        # A model makes types of its own of plain data, such as addresses.
        made = construct(record, data if refusal is not None else fields, {})
        bad = None if is_model(record.cls) else self._fit(one, made)
        if bad is not None:
            raise Refusal(place, misfit_text(written(place), bad))
        return made

    def _fit(self, one: Any, made: Any) -> Misfit | None:
        position = self.closed.position(one)
        return None if position is None else position.misfit(made)


def written(place: Place) -> str:
    """A place as errors name it."""
    first, *rest = place
    return first + "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in rest)


def misfit_text(name: str, bad: Misfit) -> str:
    """What stands somewhere and what is declared there, without the value if a name says that it is secret."""
    where, found, expected = bad
    secret = any(map(is_secret, f"{name}{where}".replace("[", ".").replace("]", ".").split(".")))
    return (
        f"{name}{where} is {HIDDEN if secret else repr(found)}, and {type_name(expected.annotation)} is declared there"
    )


def _is_raw(value: Any) -> bool:
    """Whether it is plain data in which no names of fields can be lost."""
    items = value if type(value) is list else [value]
    return all(item is None or isinstance(item, str | int | float) for item in items)


def _first(one: Refusal | None, other: Refusal | None) -> Refusal | None:
    """The first one that no model can help with, else the first one."""
    return other if one is None or (one.raw and other is not None and not other.raw) else one


def _alike(bad: Misfit, before: Misfit | None) -> bool:
    return before is not None and bad[0] == before[0] and repr(bad[1]) == repr(before[1])


def _declared(position: Position | None, kind: type) -> Any:
    """The alternative that a value of that kind is meant by; None if nothing is said."""
    choices = () if position is None else position.choices
    return next((one for one in choices if _admits(one, kind)), None)


def _admits(one: Any, kind: type) -> bool:
    cls = typing.get_origin(one) or one
    if is_typed_dict(cls):
        return issubclass(kind, dict)
    return isinstance(cls, type) and issubclass(kind, cls)
