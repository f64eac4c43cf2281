"""What a function has closed over: with its code, that is what it does."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import sys
import types
import uuid
from collections import Counter
from pathlib import PurePath
from typing import Any

from perdure.core.callables import VAR_KEYWORDS

_FIXED: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, decimal.Decimal, uuid.UUID}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)
_DEEPEST = 8
_FRAMES = 100
_ABSENT: Any = object()


class Closure:
    """The variables of a function that was made in another one.

    What cannot change is part of the inputs of its calls. The rest is only compared, by `alike`: what a step appends to
    differs between a first run and a resumed one.

    Args:
        fn: the function.
    """

    __slots__ = ("_cells", "_spreads")

    is_remade = True
    """There may be several of one definition."""

    def __init__(self, fn: types.FunctionType) -> None:
        code = fn.__code__
        rebound = _rebound(code) | _assigned_again(fn)
        # What is assigned in several places is a state, such as a counter or a flag, and no input.
        cells = zip(code.co_freevars, fn.__closure__ or (), strict=True)
        self._cells = [(name, cell) for name, cell in cells if name not in rebound]
        self._spreads = bool(code.co_flags & VAR_KEYWORDS)

    def add_to(self, named: dict[str, Any]) -> dict[str, Any]:
        """The named arguments of a call, with what the function has closed over."""
        values = {self._label(name): value for name, value in self._values().items()}
        return {**named, **values} if values else named

    def take_out(self, named: dict[str, Any]) -> dict[str, Any] | None:
        """The named arguments alone again; None if they were given to another closure.

        An undoing is called with a result, and says nothing of a closure.
        """
        values = {self._label(name): value for name, value in self._values().items()}
        if values.keys().isdisjoint(named):
            return named
        if any(name not in named or not _equal(named[name], value) for name, value in values.items()):
            return None
        return {name: value for name, value in named.items() if name not in values}

    def mark(self) -> tuple[Any, ...]:
        """What tells it apart from others of its code, as far as that is part of the inputs."""
        return tuple((name, type(value), _hashable(value)) for name, value in self._values().items())

    def _values(self) -> dict[str, Any]:
        found = {}
        for name, cell in self._cells:
            try:
                value = _plain(cell.cell_contents)
            except ValueError:  # not assigned yet
                continue
            if value is not _ABSENT:
                found[name] = value
        return found

    def _label(self, name: str) -> str:
        return f"{name} of the closure" if self._spreads else name


def can_change(value: Any) -> bool:
    """May what a value says change in place?"""
    return _plain(value) is _ABSENT and not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)


def closure_of(fn: Any) -> Closure | None:
    """What a function has closed over; None for one that has nothing of its own, as most."""
    if not isinstance(fn, types.FunctionType) or fn.__closure__ is None:
        return None
    return Closure(fn)


def alike(one: Any, other: Any, depth: int = 0) -> bool:
    """Do two functions do the same: one code, over the same variables?"""
    if one is other:
        return True
    if type(one) is not type(other) or depth > _DEEPEST:
        return False
    if isinstance(one, types.FunctionType):
        return (
            one.__code__ is other.__code__
            and _all_alike(one.__defaults__ or (), other.__defaults__ or (), depth)
            and _all_alike(
                tuple((one.__kwdefaults__ or {}).values()), tuple((other.__kwdefaults__ or {}).values()), depth
            )
            and _all_alike(_contents(one), _contents(other), depth)
        )
    if isinstance(one, types.MethodType):
        return one.__func__ is other.__func__ and alike(one.__self__, other.__self__, depth + 1)
    if isinstance(one, types.BuiltinMethodType):
        return one.__name__ == other.__name__ and alike(one.__self__, other.__self__, depth + 1)
    if isinstance(one, functools.partial):
        mine, its = ((each.func, *each.args, *each.keywords.values()) for each in (one, other))
        return list(one.keywords) == list(other.keywords) and _all_alike(mine, its, depth)
    inner = getattr(one, "_spec", None)
    if inner is not None:  # a step or a workflow
        return alike(getattr(inner, "fn", one), getattr(other._spec, "fn", other), depth + 1)
    if isinstance(one, list | dict | set | tuple | frozenset) or _plain(one) is not _ABSENT:
        return _equal(one, other)
    from perdure.core.execution.instances import mark_of

    mark, others = mark_of(one), mark_of(other)
    return mark is not None and others is not None and mark.text == others.text


def _all_alike(one: tuple[Any, ...], other: tuple[Any, ...], depth: int) -> bool:
    return len(one) == len(other) and all(map(alike, one, other, (depth + 1,) * len(one)))


def _contents(fn: types.FunctionType) -> tuple[Any, ...]:
    rebound = _rebound(fn.__code__)
    found = []
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            found.append(None if name in rebound or cell.cell_contents is fn else cell.cell_contents)
        except ValueError:
            found.append(None)
    return tuple(found)


@functools.lru_cache(maxsize=1_000)
def _rebound(code: types.CodeType) -> frozenset[str]:
    """The variables that a function assigns, or one that it makes."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return frozenset(_stores(code)).union(*map(_rebound, inner))


def _assigned_again(fn: types.FunctionType) -> frozenset[str]:
    """The variables that are assigned more than once in the functions around this one, or in others that they make."""
    found: frozenset[str] = frozenset()
    code: types.CodeType = fn.__code__
    frame: types.FrameType | None = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame is None or not code.co_freevars:
            break
        if code in frame.f_code.co_consts:
            code = frame.f_code
            found |= _varying(code)
        frame = frame.f_back
    return found


@functools.lru_cache(maxsize=1_000)
def _varying(code: types.CodeType) -> frozenset[str]:
    given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    times = Counter(_stores(code))
    times.update(name for name in given if times[name])
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return frozenset(name for name, count in times.items() if count > 1).union(*map(_rebound, inner))


def _stores(code: types.CodeType) -> list[str]:
    import dis

    stores = (each for each in dis.get_instructions(code) if each.opname in ("STORE_DEREF", "DELETE_DEREF"))
    return [str(each.argval) for each in stores]


def _equal(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001  a comparison of the user's that fails is no sign of equality
        return False


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:  # a signaling NaN
        return repr(value)
    return value


def _plain(value: Any, depth: int = 0) -> Any:
    """A value that cannot change, in kinds that are always storable; _ABSENT for any other."""
    if type(value) in _FIXED:
        return value
    if depth > _DEEPEST:
        return _ABSENT
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value._name_}"
    if isinstance(value, PurePath):
        return str(value)
    if type(value) is frozenset:
        return value if all(_plain(each, depth + 1) is each for each in value) else _ABSENT
    parts: list[Any] | None = None
    if isinstance(value, tuple):
        parts = list(tuple.__iter__(value))
    elif getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False):
        from dataclasses import fields  # its class is one: it is loaded

        parts = [getattr(value, field.name, _ABSENT) for field in fields(value)]
    if parts is None:
        return _ABSENT
    plain = [_plain(each, depth + 1) for each in parts]
    if any(each is _ABSENT for each in plain):
        return _ABSENT
    if type(value) is tuple:
        return value if all(map(_same, plain, parts)) else tuple(plain)
    return (type(value).__qualname__, *plain)


def _same(one: Any, other: Any) -> bool:
    return one is other
