"""A call's arguments in canonical form.

`fetch(1)`, `fetch(day=1)` and, where `n` defaults to 3, `fetch(1, 3)` are the same call. Arguments stand in the order
of the parameters, without names, and those that equal their default are left out: renaming a parameter or adding one
with a default between a failure and the re-run does not make other calls of the completed ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from perdure.core.execution.closures import closure_of
from perdure.core.values import codec
from perdure.core.values.extensions import StandIn
from perdure.errors import NotStorable

EMPTY = inspect.Parameter.empty
NO_ARGUMENTS: dict[str, Any] = {}
IDENTITY = "__perdure_key__"
"""The method by which an instance says what it goes by in the inputs of its steps."""


class Signature:
    """The parameters of a function, prepared for binding calls quickly.

    Args:
        fn: the function; one without a readable signature (some built-ins) takes its arguments as they come.
        owner: who it is, for messages.
    """

    __slots__ = ("_defaults", "_least", "_most", "_names", "_signature", "closure", "exact", "owner")

    def __init__(self, fn: Callable[..., Any], owner: str) -> None:
        self.owner = owner
        self.closure = closure_of(fn)
        self._signature: inspect.Signature | None
        try:
            self._signature = inspect.signature(fn)
        except (ValueError, TypeError):
            self._signature = None
        parameters = list(self._signature.parameters.values()) if self._signature else []
        places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._names = [p.name for p in places]
        self._defaults = [p.default for p in places]
        required_by_name = any(p.kind is p.KEYWORD_ONLY and p.default is EMPTY for p in parameters)
        # Calls with only positional arguments, this many to that many, need no binding.
        self._least = sum(p.default is EMPTY for p in places)
        self._most = -1 if required_by_name else len(places)
        # Exactly so many positional arguments are in canonical form as they stand; -1: they never are.
        self.exact = self._most if self._most == self._least and self.closure is None else -1

    @property
    def parameters(self) -> list[str]:
        """Their names, in order; empty if they are not known."""
        return list(self._signature.parameters) if self._signature is not None else []

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments in canonical form: by place, and by name, with what the function has closed over.

        Raises:
            TypeError: the function would not accept these arguments; as Python itself would say.
        """
        if self.closure is None:
            return self._bound(args, kwargs)
        places, named = self._bound(args, kwargs)
        return places, self.closure.add_to(named)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        if not kwargs and self._least <= len(args) <= self._most:
            return self._trimmed(list(args)), NO_ARGUMENTS
        if self._signature is None:
            return list(args), kwargs
        return self._bind(self._signature, args, kwargs)

    def _bind(
        self, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        places: list[Any] = []
        rest: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        for parameter in signature.parameters.values():
            value = bound.arguments[parameter.name]
            match parameter.kind:
                case parameter.VAR_POSITIONAL:
                    rest = value
                case parameter.VAR_KEYWORD:
                    named.update(value)
                case parameter.KEYWORD_ONLY:
                    if not _same(value, parameter.default):
                        named[parameter.name] = value
                case _:
                    places.append(value)
        # With *args behind them, left-out defaults would make two different calls look alike.
        return ([*places, *rest] if rest else self._trimmed(places)), named

    def _trimmed(self, places: list[Any]) -> list[Any]:
        while len(places) > self._least and _same(places[-1], self._defaults[len(places) - 1]):
            places.pop()
        return places

    def names(self, count: int) -> list[str]:
        """The names of the first `count` parameters, as far as they have any."""
        return self._names[:count]


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    if type(value) is not type(default):
        return False
    try:
        return bool(value == default)
    except Exception:  # noqa: BLE001  a comparison of the user's that fails is no sign of equality
        return False


def pack(signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, bytes]:
    """The packed arguments of a call, and their canonical form, by which the call is known (see `codec.pack_call`).

    Raises:
        TypeError: the function would not accept these arguments.
        NotStorable: an argument cannot be stored.
    """
    places, named = signature.bind(args, kwargs)
    return codec.pack_call(places, named, owner=signature.owner)


def pack_leniently(signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """As `pack`, for calls that a key identifies: what cannot be stored is stood in for by its type's name."""
    places, named = signature.bind(args, kwargs)
    try:
        return codec.pack_call(places, named, owner=signature.owner)[0]
    except NotStorable:
        places = [_stand_in(value) for value in places]
        named = {name: _stand_in(value) for name, value in named.items()}
        return codec.pack_call(places, named, owner=signature.owner)[0]


def is_storable(value: Any) -> bool:
    """Can an argument be stored?"""
    return type(_stand_in(value)) is not StandIn


def _stand_in(value: Any) -> Any:
    try:
        codec.pack_inputs([value], {}, owner="")
    except NotStorable:
        return StandIn(type(value))
    return value


def receiver(value: Any, owner: str) -> Any:
    """What stands for `self` or `cls` in a method's inputs: the class, what the instance goes by, or its value.

    Raises:
        NotStorable: the instance can neither be stored nor says what it goes by.
    """
    if isinstance(value, type):
        return StandIn(value)
    say = getattr(type(value), IDENTITY, None)
    if say is not None:
        key = codec.pack_inputs([say(value)], {}, owner=f"{IDENTITY} of {type(value).__qualname__}")
        # What is shown may be cut; the digest is not.
        return StandIn(type(value), f"{codec.describe_inputs(key, limit=60)} {codec.digest(key).hex()}")
    try:
        codec.pack_inputs([value], {}, owner=owner)
    except NotStorable as refusal:
        name = type(value).__qualname__
        raise NotStorable(
            f"{owner} is a method, and its instance cannot be stored, so that its calls are not distinguished from "
            f"those of another {name}: {refusal.what}",
            f"give {name} a method that says what it goes by: `def {IDENTITY}(self): return self.name`; or make it a "
            "dataclass of that; or give the step a key=, which takes the instance too",
        ) from None
    return value
