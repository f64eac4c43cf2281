"""Codecs: how instances of a class become values that can be stored, as the program registers it.

The set is closed: a stored value names its codec, and only a codec that this process has registered reads it. Nothing
is imported or looked up by a stored name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from perdure.core.values.builtin_types import LOWERING
from perdure.core.values.extensions import CODEC, SCALARS, Decode, Lowering, Refused, Unfit, encode, items_of
from perdure.errors import OptionError

Ext = msgspec.msgpack.Ext


class Codec(msgspec.Struct, frozen=True):
    """How values of exactly `cls` are stored under `name`.

    Attributes:
        cls: the class.
        name: what stands in the stored bytes.
        take: gives a value that can be stored.
        make: makes an instance of what `take` gave.
        own: it is one of perdure's own, for a library.
    """

    cls: type
    name: str
    take: Callable[[Any], Any] | None
    make: Callable[[Any], Any]
    own: bool = False


_by_name: dict[str, Codec] = {}
_by_class: dict[type, Codec] = {}
_when_met: dict[str, Callable[[], object]] = {}
_BUILT_IN = frozenset(LOWERING)


def load_when_met(name: str, load: Callable[[], object]) -> None:
    """Call this when a stored value names the codec: it registers one of perdure's own that few scripts need."""
    _when_met[name] = load


def register(codec: Codec) -> None:
    """Store the values of a class so from now on.

    Raises:
        OptionError: the class has its form already, or the name is another class's.
    """
    cls, name = codec.cls, codec.name
    if cls in _BUILT_IN or cls in SCALARS or ((known := _by_class.get(cls)) and known.own and not codec.own):
        raise OptionError(f"{cls.__qualname__} is stored without a codec", "give a codec only to a class of your own")
    other = _by_name.get(name)
    # A notebook's cell or a reload makes the class anew.
    if other is not None and (other.cls.__module__, other.cls.__qualname__) != (cls.__module__, cls.__qualname__):
        raise OptionError(
            f"the codec name {name!r} is that of {other.cls.__qualname__} already",
            f"give the codec of {cls.__qualname__} a name of its own",
        )
    _by_name[name] = codec
    if codec.take is not None:
        _by_class[cls] = codec
        LOWERING[cls] = lambda w, v, d: _lower(w, v, d, codec)


def register_own(cls: type, name: str, take: Callable[[Any], Any], make: Callable[[Any], Any]) -> None:
    """The same for a class of a library: nobody else gives it another form."""
    register(Codec(cls, name, take, make, own=True))


def registered() -> list[type]:
    """The classes that have a codec."""
    return list(_by_class)


def named(name: Any) -> Codec | None:
    """The codec of that name, if this process has registered it."""
    return _by_name.get(name) if type(name) is str else None


def _lower(w: Lowering, value: Any, depth: int, codec: Codec) -> Any:
    assert codec.take is not None
    w.foreign = w.foreign or not codec.own
    try:
        content = codec.take(value)
    except (Refused, MemoryError):
        raise
    except Exception as error:
        hint = f"check the encode function of the codec {codec.name!r}"
        raise Refused(f"cannot be encoded ({type(error).__name__}: {error})", value, hint) from error
    if type(content) is codec.cls:
        hint = f"let the encode function of the codec {codec.name!r} return builtins"
        raise Refused("is encoded as an instance of the same class", value, hint)
    try:
        return Ext(CODEC, encode([codec.name, w.lower(content, depth + 1)]))
    except Refused as refused:
        refused.path.append(".<encoded>")
        raise


def read(data: Any, decode: Decode, load: Callable[[str], None]) -> Any:
    """The value that a codec has stored.

    Args:
        data: the extension's bytes.
        decode: what decodes the values in it.
        load: is given the name of a codec that is not registered, and may register it.
    """
    name, content = items_of(data, decode)
    codec = named(name)
    if codec is None and type(name) is str:
        _when_met.get(name, lambda: load(name))()
        codec = named(name)
    if codec is None:
        raise Unfit(f"it holds a value of the codec {name!r}, which this process has not registered")
    value = codec.make(content)
    if type(value) is not codec.cls:
        raise Unfit(f"the codec {name!r} made {type(value).__qualname__} of it and not {codec.cls.__qualname__}")
    return value
