"""What a callable is and takes. `inspect`, which loads the parser, is only asked about what is no plain function."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import inspect

_VAR_POSITIONAL, VAR_KEYWORDS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x200
"""Bits of `co_flags`, as `inspect` calls them."""


class EMPTY:
    """Stands for no annotation, and for no default."""


class Parameters:
    """What a function takes.

    Args:
        places: the names of the parameters that are given by place.
        named: those of the ones that are given by name alone.
        more: those of `*args` and `**kwargs`, empty for none.
        defaults: the default of each that has one.
        by_place_alone: so many of the first cannot be given by name.
    """

    __slots__ = ("defaults", "is_simple", "named", "names", "places")

    def __init__(
        self,
        places: tuple[str, ...],
        named: tuple[str, ...],
        more: tuple[str, str],
        defaults: dict[str, Any],
        by_place_alone: int = 0,
    ) -> None:
        self.places = places
        self.named = named
        self.defaults = defaults
        self.names: Final = [name for name in (*places, more[0], *named, more[1]) if name]
        self.is_simple: Final = not (by_place_alone or any(more))

    def filled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The value of each parameter in a call; None if only `inspect` can say, or say what is wrong."""
        if not self.is_simple or len(args) > len(self.places):
            return None
        given = dict(zip(self.places, args, strict=False))
        if not given.keys().isdisjoint(kwargs):
            return None
        found = self.defaults | given | kwargs
        return found if found.keys() == set(self.names) else None


def _is_plain(fn: Any) -> bool:
    """A function as it was written: no attribute of it says that it is something else."""
    return type(fn) is FunctionType and not fn.__dict__


def parameters_of(fn: Any) -> Parameters | None:
    """What a callable takes, in order; None if that is not known, as of some built-ins."""
    if _is_plain(fn):
        return _parameters_of_code(fn)
    try:
        signature = signature_of(fn)
    except (ValueError, TypeError):
        return None
    parameters = list(signature.parameters.values())
    kinds = {kind: tuple(p.name for p in parameters if p.kind == kind) for kind in range(5)}
    return Parameters(
        kinds[0] + kinds[1],
        kinds[3],
        ("".join(kinds[2]), "".join(kinds[4])),
        {p.name: p.default for p in parameters if p.default is not p.empty},
        len(kinds[0]),
    )


def _parameters_of_code(fn: FunctionType) -> Parameters:
    code = fn.__code__
    names, count, last = code.co_varnames, code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    places, named, rest = names[:count], names[count:last], list(names[last:])
    args = rest.pop(0) if code.co_flags & _VAR_POSITIONAL else ""
    given = fn.__defaults__ or ()
    defaults = dict(zip(places[count - len(given) :], given, strict=True))
    return Parameters(
        places,
        named,
        (args, rest[0] if code.co_flags & VAR_KEYWORDS else ""),
        defaults | {name: value for name, value in (fn.__kwdefaults__ or {}).items() if name in named},
        code.co_posonlyargcount,
    )


def signature_of(fn: Any) -> inspect.Signature:
    """What `inspect.signature` gives, to bind arguments.

    Raises:
        ValueError: it is a built-in that does not say what it takes.
        TypeError: it is no callable.
    """
    import inspect

    return inspect.signature(fn)


def unwrap(fn: Any) -> Any:
    """The function in the wrappers that `functools.wraps` made."""
    if not hasattr(fn, "__wrapped__"):
        return fn
    import inspect

    return inspect.unwrap(fn)


def is_coroutine_function(fn: Any) -> bool:
    """Does a call give a coroutine?"""
    if _is_plain(fn):
        return bool(fn.__code__.co_flags & _COROUTINE)
    import inspect

    return inspect.iscoroutinefunction(fn)


def is_generator_function(fn: Any) -> bool:
    """Does a call give a generator, sync or async?"""
    if _is_plain(fn):
        return bool(fn.__code__.co_flags & (_GENERATOR | _ASYNC_GENERATOR))
    import inspect

    return inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)


def is_routine(fn: Any) -> bool:
    """Is it a function or a method, rather than an object that can be called?"""
    if type(fn) is FunctionType:
        return True
    import inspect

    return inspect.isroutine(fn)


def mark_coroutine_function(fn: Any) -> None:
    """Have `inspect.iscoroutinefunction` say so of an object, from Python 3.12 on."""
    import inspect

    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(fn)
