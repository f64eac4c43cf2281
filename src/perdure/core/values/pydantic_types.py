"""Pydantic's own kinds of values: addresses of all kinds, and the time zones that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from perdure.core.values.registry import Codec, register


def learn() -> None:
    """Register a codec for each class of addresses that pydantic itself defines, and for its fixed offsets."""
    from pydantic import AnyUrl, NameEmail, PostgresDsn
    from pydantic_core import MultiHostUrl, TzInfo, Url

    for base in (AnyUrl.__mro__[-2], PostgresDsn.__mro__[-2]):
        for cls in _below(base):
            if cls.__module__ == "pydantic.networks":
                register(Codec(cls, f"pydantic.{cls.__name__}", _text, _of_text(cls), own=True))
    for core in (Url, MultiHostUrl):
        register(Codec(core, f"pydantic.core.{core.__name__}", _text, _of_text(core), own=True))
    register(Codec(NameEmail, "pydantic.NameEmail", _name_and_email, lambda content: NameEmail(*content), own=True))
    register(Codec(TzInfo, "pydantic.TzInfo", _offset, TzInfo, own=True))


def _text(url: Any) -> str:
    return str(url)


def _of_text(cls: Any) -> Callable[[Any], Any]:
    make: Callable[[Any], Any] = cls
    return make


def _name_and_email(value: Any) -> list[str]:
    return [value.name, value.email]


def _offset(zone: Any) -> float:
    return float(zone.utcoffset(None).total_seconds())


def _below(cls: type) -> Iterator[type]:
    subclasses: list[type] = type.__subclasses__(cls)
    for one in subclasses:
        yield one
        yield from _below(one)
