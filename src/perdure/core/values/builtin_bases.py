"""Builtin classes that users may have subclasses of: how the value gets out of an instance, and into a new one."""

from __future__ import annotations

import collections
import datetime
import decimal
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final


def _made(base: Any) -> Callable[[Any, Any], Any]:
    new: Callable[[Any, Any], Any] = base.__new__
    return new


def _filled(base: Any, fill: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def make(cls: Any, plain: Any) -> Any:
        value = base.__new__(cls)
        fill(value, plain)
        return value

    return make


def _uuid(cls: Any, plain: uuid.UUID) -> Any:
    value: Any = object.__new__(cls)
    object.__setattr__(value, "int", plain.int)
    object.__setattr__(value, "is_safe", plain.is_safe)
    return value


_Day, _Moment, _Clock = datetime.date, datetime.datetime, datetime.time


BASES: Final[dict[Any, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]]] = {
    int: (int.__int__, _made(int)),
    float: (float.__float__, _made(float)),
    complex: (complex.__complex__, _made(complex)),
    str: (str.__str__, _made(str)),
    bytes: (lambda v: bytes.__getitem__(v, slice(None)), _made(bytes)),
    decimal.Decimal: (decimal.Decimal, _made(decimal.Decimal)),
    uuid.UUID: (lambda v: uuid.UUID(int=v.int, is_safe=v.is_safe), _uuid),
    _Moment: (
        lambda v: _Moment(v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold),
        lambda cls, v: _Moment.__new__(
            cls, v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold
        ),
    ),
    _Day: (lambda v: _Day(v.year, v.month, v.day), lambda cls, v: _Day.__new__(cls, v.year, v.month, v.day)),
    _Clock: (
        lambda v: _Clock(v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold),
        lambda cls, v: _Clock.__new__(cls, v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold),
    ),
    datetime.timedelta: (
        lambda v: datetime.timedelta(v.days, v.seconds, v.microseconds),
        lambda cls, v: datetime.timedelta.__new__(cls, v.days, v.seconds, v.microseconds),
    ),
    list: (lambda v: list(list.__iter__(v)), _filled(list, list.extend)),
    tuple: (lambda v: tuple(tuple.__iter__(v)), _made(tuple)),
    collections.OrderedDict: (
        lambda v: collections.OrderedDict(collections.OrderedDict.items(v)),
        _filled(collections.OrderedDict, collections.OrderedDict.update),
    ),
    collections.Counter: (
        lambda v: _counter(dict.items(v)),
        _filled(collections.Counter, dict.update),
    ),
    dict: (lambda v: dict(dict.items(v)), _filled(dict, dict.update)),
    set: (lambda v: set(set.__iter__(v)), _filled(set, set.update)),
    frozenset: (lambda v: frozenset(frozenset.__iter__(v)), _made(frozenset)),
}
"""The builtin classes that may have subclasses of the user's: how the builtin value is got out of an instance, and how
an instance is made of it without running the subclass's own code. A class stands before its bases."""


def _counter(items: Iterable[tuple[Any, Any]]) -> collections.Counter[Any]:
    counter: collections.Counter[Any] = collections.Counter()
    dict.update(counter, items)
    return counter
