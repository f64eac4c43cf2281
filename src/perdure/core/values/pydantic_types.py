"""Pydantic's own kinds of values: addresses of all kinds, and the time zones that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from perdure.core.values.registry import register_own


def learn() -> None:
    """Register a codec for each class of addresses that pydantic itself defines, and for its fixed offsets."""
    from pydantic import AnyUrl, NameEmail, PostgresDsn
    from pydantic_core import MultiHostUrl, TzInfo, Url

    for base in (AnyUrl.__mro__[-2], PostgresDsn.__mro__[-2]):
        for cls in _below(base):
            if cls.__module__ == "pydantic.networks":
                register_own(cls, f"pydantic.{cls.__name__}", _text, _of_text(cls))
    for core in (Url, MultiHostUrl):
        register_own(core, f"pydantic.core.{core.__name__}", _text, _of_text(core))
    register_own(NameEmail, "pydantic.NameEmail", _name_and_email, lambda content: NameEmail(*content))
    register_own(TzInfo, "pydantic.TzInfo", _offset, TzInfo)


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
