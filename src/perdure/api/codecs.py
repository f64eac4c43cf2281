"""Codecs for classes of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from perdure.core.values.registry import Codec, register
from perdure.errors import OptionError

T = TypeVar("T")


def register_codec(
    cls: type[T], encode: Callable[[T], Any] | None, decode: Callable[[Any], T], *, name: str | None = None
) -> None:
    """Say how instances of a class are stored, so that steps can return them and take them.

    Call it at the top level of the module that defines the class, or that imports it: a process that reads a stored
    value must have registered its codec before. A codec is for instances of exactly this class; a subclass has one of
    its own.

    What is stored can be read for as long as a codec of its name is registered. For a new form, register the class
    again under a new name, and keep the old one for reading with `encode=None`.

    Args:
        cls: the class.
        encode: takes an instance and returns a value that can be stored: builtins, dataclasses that are named in an
            annotation, other classes that have a codec. None: the codec only reads what was stored under its name.
        decode: takes what `encode` returned and returns an equal instance of exactly `cls`.
        name: what stands in the stored bytes; the class's own name by default. It is never used to find the class.

    Raises:
        OptionError: the class is a builtin or of a library that needs no codec, or the name is another class's.
    """
    if not isinstance(cls, type):
        raise OptionError(f"register_codec() takes a class, not {cls!r}", "call register_codec(Money, encode, decode)")
    if (encode is not None and not callable(encode)) or not callable(decode):
        raise OptionError(
            f"the codec of {cls.__qualname__} needs two functions", "call register_codec(Money, encode, decode)"
        )
    label = cls.__qualname__ if name is None else name
    if not isinstance(label, str) or not label or label.partition(".")[0] in _RESERVED:
        raise OptionError(f"{label!r} is not a name for a codec", 'give a text of your own, such as name="money/2"')
    register(Codec(cls, label, encode, decode))


_RESERVED = ("numpy", "pandas", "dateutil", "pytz", "pydantic", "perdure")
