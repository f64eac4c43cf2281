"""What a function is bound to: the arguments of a partial, the instance of a method, what a closure closes over."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

from perdure.core.callables import parameters_of
from perdure.core.execution.closures import Closure, closure_of
from perdure.core.values.extensions import GoesBy


class Bound:
    """What a partial or a bound method brings with it: part of the inputs of its calls, as texts that tell it apart.

    What can neither be stored nor says what it goes by is left out. Names that a partial gives are defaults.

    Args:
        given: the values, by what they are to be called.
        inner: of the function in it, if that is a closure.
    """

    __slots__ = ("_given", "_inner", "is_remade")

    def __init__(self, given: dict[str, Any], inner: Closure | Bound | None) -> None:
        self._given = given
        self._inner = inner
        self.is_remade: bool = inner is not None and inner.is_remade

    def add_to(self, named: dict[str, Any]) -> dict[str, Any]:
        """The named arguments of a call, with what the function is bound to."""
        if self._inner is not None:
            named = self._inner.add_to(named)
        return {**named, **{name: mark if mark.packed else mark.text for name, mark in self._marks().items()}}

    def take_out(self, named: dict[str, Any]) -> dict[str, Any] | None:
        """The named arguments alone again; None if they were given to a function that is bound to something else."""
        if self._inner is not None:
            own = self._inner.take_out(named)
            if own is None:
                return None
            named = own
        texts = self._texts()
        if texts.keys().isdisjoint(named):
            return named
        if any(named.get(name) != text for name, text in texts.items()):
            return None
        return {name: value for name, value in named.items() if name not in texts}

    def mark(self) -> tuple[Any, ...]:
        """What tells it apart from others of its function."""
        inner = () if self._inner is None else self._inner.mark()
        return (*inner, *self._texts().items())

    def held(self) -> Iterator[Any]:
        """The values that it brings, for the classes of what they go by."""
        yield from self._given.values()
        if isinstance(self._inner, Bound):
            yield from self._inner.held()

    def _texts(self) -> dict[str, str]:
        return {name: mark.text for name, mark in self._marks().items()}

    def _marks(self) -> dict[str, GoesBy]:
        from perdure.core.execution.instances import mark_of

        found = {name: mark_of(value) for name, value in self._given.items()}
        return {name: mark for name, mark in found.items() if mark is not None}


def bound_of(fn: Any) -> Closure | Bound | None:
    """What a function is bound to, or closes over; None for one that has nothing of its own, as most."""
    given, function = _parts(fn)
    inner = closure_of(fn) if function is fn else bound_of(function)
    if not given:
        return inner
    from perdure.core.execution.instances import mark_of

    return inner if all(mark_of(value) is None for value in given.values()) else Bound(given, inner)


def unknown_of(fn: Any) -> Any:
    """What a function is bound to that can neither be stored nor says what it goes by; None if there is nothing."""
    from perdure.core.execution.instances import mark_of

    while True:
        given, function = _parts(fn)
        found = next((value for value in given.values() if mark_of(value) is None), None)
        if found is not None or function is fn:
            return found
        fn = function


def code_of(fn: Any) -> Any:
    """What a function does, whatever it is bound to: equal for two that differ in that alone."""
    given, function = _parts(fn)
    while function is not fn:
        fn = function
        given, function = _parts(fn)
    return (type(fn.__self__), fn.__name__) if given else getattr(fn, "__code__", fn)


def _parts(fn: Any) -> tuple[dict[str, Any], Any]:
    """What a function is bound to, by what that is to be called, and the function in it: itself if there is none."""
    if isinstance(fn, types.FunctionType):
        return {}, fn
    if isinstance(fn, functools.partial):
        return {f"{name} of the partial": value for name, value in _given_first(fn)}, fn.func
    if isinstance(fn, types.MethodType):
        return {"self of the method": fn.__self__}, fn.__func__
    if isinstance(fn, types.BuiltinMethodType) and not isinstance(fn.__self__, types.ModuleType | type | None):
        return {"self of the method": fn.__self__}, fn
    if not hasattr(fn, "__name__"):  # an instance that is called
        return {"self of the call": fn}, type(fn).__call__
    return {}, fn


def _given_first(fn: functools.partial[Any]) -> list[tuple[str, Any]]:
    """The arguments that a partial gives by place, with the names of their parameters."""
    takes = parameters_of(fn.func)
    names = takes.names if takes is not None else []
    return [(names[place] if place < len(names) else str(place), value) for place, value in enumerate(fn.args)]
