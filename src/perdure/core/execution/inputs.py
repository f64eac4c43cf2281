"""A call's arguments in canonical form.

`fetch(1)`, `fetch(day=1)` and, where `n` defaults to 3, `fetch(1, 3)` are the same call. Arguments stand in the order
of the parameters, without names, and those that equal their default are left out: renaming a parameter or adding one
with a default between a failure and the re-run does not make other calls of the completed ones. The defaults that a run
has recorded are those that its calls are compared by: a default that is edited is another argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from perdure.core.callables import EMPTY, parameters_of, signature_of
from perdure.core.execution.bound_values import Bound, bound_of
from perdure.core.execution.closures import can_change
from perdure.core.values import codec
from perdure.core.values.extensions import SCALARS, StandIn
from perdure.errors import NotStorable

if TYPE_CHECKING:
    import inspect

NO_ARGUMENTS: dict[str, Any] = {}


class Signature:
    """The parameters of a function, prepared for binding calls quickly.

    Args:
        fn: the function; one without a readable signature (some built-ins) takes its arguments as they come.
        owner: who it is, for messages.
        recorded: digests of defaults that differ from what they are now, by parameter; see `as_recorded`.

    `closure` is what the function is bound to, or closes over; `changing` are the parameters whose default can change
    in place, with that; `edited` those whose default is not the recorded one.
    """

    __slots__ = (
        "_defaults",
        "_digests",
        "_fn",
        "_least",
        "_meant",
        "_most",
        "_names",
        "_signature",
        "_takes",
        "changing",
        "closure",
        "edited",
        "exact",
        "owner",
    )

    def __init__(self, fn: Callable[..., Any], owner: str, recorded: Mapping[str, bytes] | None = None) -> None:
        self.owner = owner
        self._fn = fn
        self.closure = bound_of(fn)
        takes = self._takes = parameters_of(fn)
        self._signature: inspect.Signature | None = None
        places = list(takes.places) if takes is not None else []
        given = takes.defaults if takes is not None else {}
        self._names = places
        self.changing = {name: value for name, value in given.items() if can_change(value)}
        self.edited = tuple(name for name in self.parameters if name in (recorded or ()))
        self._digests: dict[str, bytes] | None = None
        self._meant = given if recorded is None else given | {name: _Recorded(recorded[name]) for name in recorded}
        self._defaults = [self._meant.get(name, EMPTY) for name in places]
        required_by_name = takes is not None and any(name not in given for name in takes.named)
        # Calls with only positional arguments, this many to that many, need no binding.
        self._least = sum(name not in given for name in places)
        self._most = -1 if required_by_name or recorded else len(places)
        # Exactly so many positional arguments are in canonical form as they stand; -1: they never are.
        as_it_stands = self._most == self._least and self.closure is None and not self.changing
        self.exact = self._most if as_it_stands else -1

    @property
    def parameters(self) -> list[str]:
        """Their names, in order; empty if they are not known."""
        return self._takes.names if self._takes is not None else []

    @property
    def is_remade(self) -> bool:
        """Is the function made by another one, which may make several of it?"""
        return self.closure is not None and self.closure.is_remade

    def defaults(self) -> dict[str, bytes]:
        """A digest of each default that can be stored, by its parameter, as it is now."""
        if self._digests is not None and not self.changing:
            return self._digests
        found = {}
        for name, value in self._meant.items():
            with suppress(NotStorable):
                found[name] = _digest(value)
        self._digests = found
        return found

    def as_recorded(self, recorded: Mapping[str, bytes]) -> Signature | None:
        """The same, of calls as a run has recorded them: a default that was edited since is an argument like others.

        Args:
            recorded: what `defaults` gave when the run first called the function.

        Returns:
            None if no default was edited.
        """
        now = self.defaults()
        edited = {name: digest for name, digest in recorded.items() if now.get(name, digest) != digest}
        return Signature(self._fn, self.owner, edited) if edited else None

    def state(self) -> bytes:
        """What the defaults that can change are at this moment, packed; one that cannot be stored is left out."""
        known = {name: value for name, value in self.changing.items() if is_storable(value)}
        if len(known) < len(self.changing):
            self.changing = known
        return codec.pack_call([], known, owner=self.owner)[0]

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
        if self._takes is None:
            return list(args), kwargs
        return self._bind(args, kwargs)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        assert self._takes is not None
        if (filled := self._takes.filled(args, kwargs)) is not None:
            found = {name: filled[name] for name in self._takes.named}
            return self._trimmed([filled[name] for name in self._names]), self._not_as_meant(found)
        signature = self._signature = self._signature or signature_of(self._fn)
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
                    named |= self._not_as_meant({parameter.name: value})
                case _:
                    places.append(value)
        # With *args behind them, left-out defaults would make two different calls look alike.
        return ([*places, *rest] if rest else self._trimmed(places)), named

    def _not_as_meant(self, named: dict[str, Any]) -> dict[str, Any]:
        """Of arguments that are given by name alone, those that differ from their default."""
        return {name: value for name, value in named.items() if not _same(value, self._meant.get(name, EMPTY))}

    def _trimmed(self, places: list[Any]) -> list[Any]:
        while len(places) > self._least and _same(places[-1], self._defaults[len(places) - 1]):
            places.pop()
        return places

    def names(self, count: int) -> list[str]:
        """The names of the first `count` parameters, as far as they have any."""
        return self._names[:count]


class _Recorded:
    """The default of an earlier version of a function, of which only a digest is known."""

    def __init__(self, digest: bytes) -> None:
        self.digest = digest


def _digest(value: Any) -> bytes:
    return codec.digest(codec.pack_inputs([value], {}, owner="a default"))


def _same(value: Any, default: Any) -> bool:
    if type(default) is _Recorded:
        try:
            return _digest(value) == default.digest
        except NotStorable:
            return False
    if value is default:
        return True
    if type(value) is not type(default):
        return False
    try:
        return bool(value == default)
    except Exception:  # noqa: BLE001  a comparison of the user's that fails is no sign of equality
        return False


def look_as_always(signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Are the inputs scalars alone, which look as they always did, whatever becomes of classes?"""
    if not SCALARS.issuperset(map(type, args)) or (kwargs and not SCALARS.issuperset(map(type, kwargs.values()))):
        return False
    return not isinstance(signature.closure, Bound)


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
